"""Exports as N-Triples, and the vocabulary of their terms."""

from __future__ import annotations

import json
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, Triple, parse
from rdflib import RDF, RDFS, Graph, Namespace, URIRef

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.found.export import export_found
from elspeth.core.landscape.exporting.reader import read_export
from tests.fixtures.effort import law
from tests.fixtures.graphs import canonical, json_ld, triples
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.rich_run import recorded, rich_run

BASE = "https://example.org/runs/42/"
LANDSCAPE = Namespace("https://w3id.org/elspeth/landscape/")
PROV = Namespace("http://www.w3.org/ns/prov#")

Node = BlankNode | Literal | NamedNode | Triple

# Neither surrogates, which JSON text cannot hold, nor the null character, which databases refuse.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def values_of(column: str, record: dict[str, object]) -> list[Node]:
    """Return the values that Oxigraph reads of a property."""
    name = f"{LANDSCAPE}{column}"
    read = parse(triples([json.dumps(record).encode()], BASE), format=RdfFormat.N_TRIPLES)
    return [quad.object for quad in read if quad.predicate.value == name]


@pytest.mark.parametrize("withheld", [False, True])
def test_every_shape_of_record_gives_the_triples_that_oxigraph_reads(
    new_landscape: NewLandscape, *, withheld: bool
) -> None:
    with new_landscape() as db:
        run_id = recorded(db, rich_run())
        file = BytesIO()
        total = write_export(db, run_id, file, format=ExportFormat.NT, base=BASE, include_payloads=withheld)
        lines = list(LandscapeExporter(db, include_payloads=withheld).export_lines(run_id))
    assert total == len(lines) - 1
    read = canonical(json_ld(lines, BASE), RdfFormat.JSON_LD)
    assert canonical(file.getvalue(), RdfFormat.N_TRIPLES) == read
    kinds = {str(quad.object) for quad in read if quad.predicate.value == str(RDF.type)}
    assert len(kinds) == len({json.loads(line)["record_type"] for line in lines})


@law(30)
@given(key=TEXT.filter(bool))
def test_every_key_has_an_iri_of_its_own(key: str) -> None:
    (value,) = values_of("row_id", {"record_type": "token", "token_id": "t", "row_id": key})
    assert isinstance(value, NamedNode)
    segment = value.value.removeprefix(f"{BASE}row/")
    assert (unquote(segment), "/" in segment, segment in {".", ".."}) == (key, False, False)


@law(30)
@given(text=TEXT)
@example(text='\\ "\n\r\t\v\x7f\x85\u2028')
def test_every_text_is_a_literal(text: str) -> None:
    (value,) = values_of("label", {"record_type": "edge", "edge_id": "e", "label": text})
    assert value == Literal(text)


@law(30)
@given(number=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53))
def test_every_number_is_the_canonical_double(number: float) -> None:
    record = {"record_type": "secret_resolution", "resolution_id": "r", "timestamp": number}
    (value,) = values_of("timestamp", record)
    document = json_ld([json.dumps(record).encode()], BASE)
    read = {quad.object for quad in parse(document, format=RdfFormat.JSON_LD)}
    assert isinstance(value, Literal)
    assert float(value.value) == number
    assert value in read


def test_only_an_earlier_export_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LandscapeDB(f"sqlite:///{tmp_path / 'audit.db'}") as db:
        recorded(db, rich_run())
    path = tmp_path / "trail.nt"
    arguments = ["export", "latest", "-d", str(tmp_path / "audit.db"), "-o", str(path)]
    assert main(arguments) == 0
    written = path.read_bytes()
    assert main(arguments) == 0
    assert path.read_bytes() == written
    assert written.startswith(b"<urn:elspeth:run:run-1/run/run-1> ")
    path.write_bytes(written.partition(b"\n")[2])
    assert main(arguments) == 1
    assert "is not an export, which a new one may replace" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["trail.nt", "trail.nt.gz"])
def test_triples_cannot_be_imported(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with LandscapeDB.in_memory() as db:
        recorded(db, rich_run())
        write_export(db, "run-1", tmp_path / name, format=ExportFormat.NT)
    with pytest.raises(
        ExportError, match="holds N-Triples, which triple stores read: name an export in another format"
    ):
        read_export(tmp_path / name)
    assert main(["verify", str(tmp_path / name)]) == 1
    assert "holds N-Triples, which triple stores read: name an export in another format" in capsys.readouterr().err


def test_a_database_as_found_has_no_rdf_terms(tmp_path: Path) -> None:
    with LandscapeDB(f"sqlite:///{tmp_path / 'audit.db'}") as db:
        url = db.engine.url
    with pytest.raises(LandscapeError, match="the format nt: not for a database as found"):
        export_found(url, tmp_path / "trail.nt", format=ExportFormat.NT)
    assert not (tmp_path / "trail.nt").exists()


def test_the_vocabulary_describes_every_term() -> None:
    package = files("elspeth_schema")
    vocabulary = Graph().parse(data=package.joinpath("vocabulary.ttl").read_text(encoding="utf-8"), format="turtle")
    context = json.loads(package.joinpath("context.jsonld").read_text(encoding="utf-8"))["@context"]
    types = {name: term for name, term in context.items() if isinstance(term, dict)}
    terms = [term for each in types.values() for term in each["@context"].values()]
    named = {term if isinstance(term, str) else term.get("@id", "") for term in [*types.values(), *terms]}
    ours = {LANDSCAPE[name.removeprefix("landscape:")] for name in named if name.startswith("landscape:")}
    assert {each for each in vocabulary.subjects() if isinstance(each, URIRef)} == {*ours, LANDSCAPE[""]}
    assert [each for each in ours if not vocabulary.value(each, RDFS.comment)] == []
    assert vocabulary.value(LANDSCAPE.Token, RDFS.subClassOf) == PROV.Entity
    assert vocabulary.value(LANDSCAPE.NodeState, RDFS.subClassOf) == PROV.Activity
    assert vocabulary.value(LANDSCAPE.TokenParent, RDFS.subClassOf) == PROV.Derivation

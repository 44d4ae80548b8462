"""Exported lines read as RDF by rdflib.

They are read with the generated context.
"""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
from contextlib import chdir, redirect_stdout
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import pytest
from rdflib import RDF, BNode, Graph, Literal, Namespace, URIRef
from rdflib.compare import isomorphic
from rdflib.query import ResultRow

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth_schema.records import RECORD_TYPES
from tests.examples.running import names, run_example
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.graphs import assert_graph, facts_told, lineage_query, stories

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "linked-data.md").read_text(encoding="utf-8")
SHAPES_PROGRAM, PROGRAM = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

LANDSCAPE = Namespace("https://w3id.org/elspeth/landscape/")
PROV = Namespace("http://www.w3.org/ns/prov#")
BASE = "https://example.org/runs/42/"

Record = dict[str, Any]

# rdflib's parser of JSON-LD uses what rdflib has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a run in which rows were forked and merged."""
    directory = tmp_path_factory.mktemp("linked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        run_example("fork_coalesce", directory)
        database = "sqlite:///examples/fork_coalesce/runs/audit.db"
        assert main(["export", "latest", "-d", database, "-o", "trail.jsonl"]) == 0
        assert main(["export", "latest", "-d", database, "-o", "trail.nt", "--base", BASE]) == 0
    return directory


@pytest.fixture
def records(directory: Path) -> list[Record]:
    """Return the records of the export without its manifest."""
    return [json.loads(line) for line in (directory / "trail.jsonl").read_text().splitlines()][:-1]


@pytest.fixture(scope="module")
def read(directory: Path) -> tuple[Graph, list[str]]:
    """Run the documented program; return its graph and output.

    Tests only read the graph.
    """
    names: dict[str, Any] = {}
    with chdir(directory), redirect_stdout(StringIO()) as printed, catch_warnings():
        simplefilter("ignore", DeprecationWarning)  # rdflib's parser of JSON-LD uses what rdflib has deprecated
        exec(PROGRAM, names)  # noqa: S102 - the documentation's own
    return names["graph"], printed.getvalue().splitlines()


@pytest.fixture
def graph(read: tuple[Graph, list[str]]) -> Graph:
    """Return the graph that the program reads."""
    return read[0]


def iri(record_type: str, key: str) -> URIRef:
    return URIRef(f"{BASE}{record_type}/{key}")


def own_key(record: Record) -> str | None:
    """Return the record's key within its run.

    None unless it is one column.
    """
    own = [name for name in RECORD_TYPES[record["record_type"]].key if name != "run_id"] or ["run_id"]
    return own[0] if len(own) == 1 else None


def test_each_record_has_its_class(graph: Graph, records: list[Record]) -> None:
    named = {
        (iri(record["record_type"], record[key]), record["record_type"].replace("_", ""))
        for record in records
        if (key := own_key(record)) is not None
    }
    found = {
        (subject, str(kind).removeprefix(LANDSCAPE).removesuffix("Record").lower())
        for subject, kind in graph.subject_objects(RDF.type)
        if isinstance(subject, URIRef)
    }
    assert found == named


def test_each_reference_leads_to_a_record(graph: Graph, records: list[Record]) -> None:
    subjects = set(graph.subjects())
    references = [
        (record, reference.columns[-1], reference.record_type)
        for record in records
        for reference in RECORD_TYPES[record["record_type"]].references
        if record[reference.columns[-1]] is not None
    ]
    assert {iri(target, record[column]) for record, column, target in references} <= subjects
    assert {each for each in graph.objects() if str(each).startswith(BASE)} <= subjects


def test_each_value_is_in_the_graph(graph: Graph, records: list[Record]) -> None:
    context = json.loads(files("elspeth_schema").joinpath("context.jsonld").read_text())["@context"]
    missing = []
    for record in records:
        key = own_key(record)
        if key is None:
            continue
        terms = context[record["record_type"]]["@context"]
        referring = {each.columns[-1] for each in RECORD_TYPES[record["record_type"]].references}
        for name in record.keys() - {"record_type", key, *referring}:
            term = terms[name]
            prefix, _, local = (term if isinstance(term, str) else term["@id"]).partition(":")
            values = list(graph.objects(iri(record["record_type"], record[key]), URIRef(context[prefix] + local)))
            if record[name] is not None and not any(_equals(value, record[name]) for value in values):
                missing.append((record["record_type"], name, record[name], values))
    assert missing == []


def _equals(literal: object, value: object) -> bool:
    """Return whether the literal stands for the JSON value.

    JSON within texts, and times, are compared by meaning.
    """
    assert isinstance(literal, Literal)
    if isinstance(value, bool) or not isinstance(value, str):
        return bool(literal.toPython() == value)
    if literal.datatype == RDF.JSON:
        return bool(json.loads(str(literal)) == json.loads(value))
    return str(literal) == value or str(literal) == value.replace("Z", "+00:00").replace(".000000", "")


def test_derivations_follow_from_the_records(graph: Graph, records: list[Record]) -> None:
    found = set(graph.query("SELECT ?made ?from { ?made prov:qualifiedDerivation/prov:entity ?from }"))
    parents = [record for record in records if record["record_type"] == "token_parent"]
    told = {(iri("token", each["token_id"]), iri("token", each["parent_token_id"])) for each in parents}
    assert parents != []
    assert {tuple(row) for row in found if isinstance(row, tuple)} == told
    assert {isinstance(each, BNode) for each in graph.objects(None, PROV.qualifiedDerivation)} == {True}


def test_the_program_prints_the_documented_output(read: tuple[Graph, list[str]], records: list[Record]) -> None:
    tokens = {record["token_id"]: record for record in records if record["record_type"] == "token"}
    made = {record["token_id"] for record in records if record["record_type"] == "token_parent"}
    expected = {f"{iri('token', each)} comes from {iri('row', tokens[each]['row_id'])}" for each in made}
    assert set(read[1]) == expected


def test_the_commands_write_what_is_documented(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copy(directory / "examples" / "fork_coalesce" / "runs" / "audit.db", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ elspeth (.*)$", PAGE, re.MULTILINE)
    assert [main(shlex.split(command)) for command in commands] == [0, 0]
    written = Path("trail.nt").read_text()
    base = written[1 : written.index("run/")]
    assert base.startswith("urn:elspeth:run:")
    with gzip.open("trail.nt.gz", "rt") as file:
        assert file.read() == written.replace(f"<{base}", f"<{BASE}")


def test_the_triples_are_the_same_graph(graph: Graph, directory: Path) -> None:
    # rdflib takes whole numbers from JSON-LD as they are written, and normalises them when it reads N-Triples.
    normal = Graph().parse(data=graph.serialize(format="nt"), format="nt")
    assert isomorphic(normal, Graph().parse(directory / "trail.nt", format="nt"))


def test_the_program_with_shapes_finds_that_the_graph_conforms(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(directory)
    exec(SHAPES_PROGRAM, {})  # noqa: S102 - the documentation's own
    assert "Conforms: True" in capsys.readouterr().out


def test_the_query_about_a_row_agrees_with_explain(graph: Graph, directory: Path) -> None:
    assert_lineage(graph, directory / "examples" / "fork_coalesce" / "runs" / "audit.db")


@pytest.mark.thorough
@pytest.mark.parametrize("name", names())
def test_both_libraries_agree_with_explain_for_every_row(name: str, example_run: ExampleRun, tmp_path: Path) -> None:
    database = example_run(name).database
    assert_graph(database)
    path = tmp_path / "trail.nt"
    assert main(["export", "latest", "-d", str(database), "-o", str(path)]) == 0
    assert_lineage(Graph().parse(path, format="nt"), database)


def assert_lineage(graph: Graph, database: Path) -> None:
    """Assert that rdflib finds the story of `explain`."""
    with LandscapeDB.from_url(f"sqlite:///{database}") as db:
        (run_id,) = {str(run).rpartition("/")[2] for run in graph.subjects(RDF.type, LANDSCAPE.Run)}
        told = dict(stories(db, run_id))
    for index, story in told.items():
        solutions = [row.asdict() for row in graph.query(lineage_query(index)) if isinstance(row, ResultRow)]
        found = {frozenset((name, str(value).rpartition("/")[2]) for name, value in row.items()) for row in solutions}
        assert found == facts_told(story)


def test_a_reference_to_a_key_that_no_iri_can_hold_is_left_out(directory: Path) -> None:
    lines = [json.loads(line) for line in (directory / "trail.jsonl").read_text().splitlines()][:-1]
    edge = next(each for each in lines if each["record_type"] == "edge")
    spaced = {**edge, "from_node_id": "a node"}
    context = json.loads(files("elspeth_schema").joinpath("context.jsonld").read_text(encoding="utf-8"))["@context"]
    document = json.dumps({"@context": [{"@base": BASE}, context], "@graph": [spaced]})
    graph = Graph().parse(data=document, format="json-ld")
    objects = {str(each) for each in graph.objects(iri("edge", edge["edge_id"]))}
    assert f"{BASE}node/{edge['to_node_id']}" in objects
    assert not any("a node" in each or "a%20node" in each for each in objects)

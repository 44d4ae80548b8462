"""The laws of accounting as SHACL shapes, checked by pyshacl."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from pyshacl import validate
from rdflib import RDF, Graph, Literal, Namespace, Node, URIRef

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import ExportFormat, write_export
from elspeth.core.landscape.queries.runs import resolve_run
from tests.examples.running import names
from tests.fixtures.example_runs import ExampleRun

LANDSCAPE = Namespace("https://w3id.org/elspeth/landscape/")
LAWS = "https://w3id.org/elspeth/laws/"
PROV = Namespace("http://www.w3.org/ns/prov#")
SHACL = Namespace("http://www.w3.org/ns/shacl#")

SHAPES = Graph().parse(
    data=files("elspeth.evidence.format").joinpath("laws.ttl").read_text(encoding="utf-8"), format="turtle"
)


def graph_of(name: str, example_run: ExampleRun, path: Path) -> Graph:
    """Return the graph of the run of an example."""
    with LandscapeDB.from_url(f"sqlite:///{example_run(name).database}", create_tables=False) as db:
        write_export(db, resolve_run(db, "latest"), path, format=ExportFormat.NT)
    return Graph().parse(path, format="nt")


def broken_laws(graph: Graph) -> set[str]:
    """Return the names of the laws that a graph breaks."""
    conforms, report, text = validate(graph, shacl_graph=SHAPES)
    assert isinstance(report, Graph), text
    results = list(report.subjects(RDF.type, SHACL.ValidationResult))
    assert conforms == (results == [])
    return {law_of(report.value(each, SHACL.sourceShape)) for each in results}


def law_of(shape: Node | None) -> str:
    """Return the law to which a shape belongs."""
    while not (isinstance(shape, URIRef) and shape.startswith(LAWS)):
        shape = next(iter(SHAPES.subjects(None, shape)), None)
        assert shape is not None
    return str(shape).removeprefix(LAWS)


def first(graph: Graph, kind: str) -> Node:
    return min(graph.subjects(RDF.type, LANDSCAPE[kind]), key=str)


def without_a_token(graph: Graph) -> None:
    row = first(graph, "Row")
    for token in list(graph.subjects(LANDSCAPE.row_id, row)):
        graph.remove((token, None, None))


def with_a_second_end(graph: Graph) -> None:
    removed = set(graph.subjects(LANDSCAPE.row_id, first(graph, "Row")))  # by another breach, perhaps
    ends = graph.subjects(LANDSCAPE.is_terminal, Literal(True))
    outcome = next(each for each in ends if graph.value(each, LANDSCAPE.token_id) not in removed)
    for name, value in list(graph.predicate_objects(outcome)):
        graph.add((URIRef("urn:another"), name, value))


def renumbered(graph: Graph) -> None:
    graph.set((first(graph, "Row"), LANDSCAPE.row_index, Literal(41)))


def with_an_open_visit(graph: Graph) -> None:
    graph.set((first(graph, "NodeState"), LANDSCAPE.status, Literal("open")))


def read_twice(graph: Graph) -> None:
    source = graph.value(first(graph, "Row"), PROV.wasAttributedTo)
    assert source is not None
    visits = set(graph.subjects(RDF.type, LANDSCAPE.NodeState))
    visit = next(each for each in graph.subjects(LANDSCAPE.node_id, source) if each in visits)
    for name, value in list(graph.predicate_objects(visit)):
        graph.add((URIRef("urn:another"), name, value))


def truncated(graph: Graph) -> None:
    graph.remove((first(graph, "Manifest"), None, None))


def from_a_row(graph: Graph) -> None:
    graph.set((first(graph, "TokenParent"), PROV.entity, first(graph, "Row")))


@pytest.fixture(scope="module")
def sound(example_run: ExampleRun, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return graph_of("fork_coalesce", example_run, tmp_path_factory.mktemp("graphs") / "trail.nt")


BREACHES: tuple[tuple[Callable[[Graph], None], set[str]], ...] = (
    (with_a_second_end, {"ends"}),
    (renumbered, {"numbers"}),
    (with_an_open_visit, {"visits"}),
    (read_twice, {"readings"}),
    (from_a_row, {"origins"}),
    (truncated, {"export"}),
    (without_a_token, {"tokens", "readings", "visits", "origins"}),
)


def changed(graph: Graph, *changes: Callable[[Graph], None]) -> Graph:
    """Return a changed copy."""
    copy = Graph()
    copy += graph
    for change in changes:
        change(copy)
    return copy


def test_a_sound_graph_breaks_no_law_and_a_mutilated_one_breaks_all(sound: Graph) -> None:
    assert broken_laws(sound) == set()
    changes, broken = zip(*BREACHES, strict=True)
    assert broken_laws(changed(sound, *changes)) == set().union(*broken)


@pytest.mark.thorough
@pytest.mark.parametrize(("change", "broken"), BREACHES)
def test_each_breach_breaks_its_own_laws(sound: Graph, change: Callable[[Graph], None], broken: set[str]) -> None:
    assert broken_laws(changed(sound, change)) == broken


def failed(graph: Graph) -> None:
    graph.set((first(graph, "Run"), LANDSCAPE.status, Literal("failed")))
    graph.remove((first(graph, "TokenOutcome"), None, None))


def test_a_failed_run_may_leave_tokens_open(sound: Graph) -> None:
    assert broken_laws(changed(sound, failed, with_an_open_visit)) == set()


@pytest.mark.thorough
@pytest.mark.parametrize("name", names())
def test_the_graph_of_every_example_conforms(name: str, example_run: ExampleRun, tmp_path: Path) -> None:
    assert broken_laws(graph_of(name, example_run, tmp_path / "trail.nt")) == set()

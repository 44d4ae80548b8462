"""The RO-Crate metadata of a bag, compared with its records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import chain

from elspeth.evidence.format import bag
from elspeth.evidence.format.canonical import Json, parse_canonical, parse_object
from elspeth.evidence.format.crate import CRATE_TYPES, MOST_LISTED, CrateRecords, crate_metadata
from elspeth.evidence.format.errors import EvidenceError, printable, shown
from elspeth.evidence.verifier._examination import Findings, LineBatch
from elspeth.evidence.verifier.reader import BagFiles

__all__ = ["CrateCheck"]


class CrateCheck:
    """Derives the metadata again from the records.

    `counts` are the counts of the statement, which tell where the records in question lie. Bags of earlier releases
    have no metadata: then nothing is checked.
    """

    def __init__(self, files: BagFiles, counts: Mapping[str, int]) -> None:
        self._files = files
        self._is_there = bag.CRATE in files.sizes
        self._found: dict[str, list[Mapping[str, Json]]] = {name: [] for name in CRATE_TYPES}
        self._places = dict(self._find_places(counts)) if self._is_there else {}

    def _find_places(self, counts: Mapping[str, int]) -> Iterator[tuple[str, range]]:
        """Yield record types with the line numbers of their records."""
        order = parse_object(self._files.read(bag.REFERENCES), bag.REFERENCES)["order"]
        start = 0
        for name in order if isinstance(order, list) else []:
            if name in CRATE_TYPES:
                yield name, range(start, start + min(counts.get(name, 0), MOST_LISTED))
            start += counts.get(name, 0)

    def watch(self, examined: Iterable[tuple[LineBatch, Findings]]) -> Iterator[tuple[LineBatch, Findings]]:
        """Yield the batches, and keep the records that are needed."""
        for batch, findings in examined:
            yield batch, findings
            # The batch has been checked by now.
            for name, place in self._places.items():
                for number in range(max(place.start, batch.first), min(place.stop, batch.first + batch.size)):
                    self._found[name].append(parse_object(batch.lines[number - batch.first], bag.RECORDS))

    def describe(self) -> str:
        """Compare the metadata with the records, and describe the result.

        Raises EvidenceError if they differ.
        """
        if not self._is_there:
            return ""
        runs, processes, inputs, outputs = (self._found[name] for name in CRATE_TYPES)
        if not runs:
            raise EvidenceError(bag.CRATE, "expected it in the bag of a run, got one without the record of a run")
        run = runs[0]
        settings = sha256(str(run.get("settings_json")).encode()).hexdigest()
        if (found := self._files.sha256(bag.SETTINGS)) != settings:
            raise EvidenceError(bag.SETTINGS, f"expected the settings of the run, of SHA-256 {settings}, got {found}")
        records = CrateRecords(run=run, processes=processes, inputs=inputs, outputs=outputs)
        names = [name for name in self._files.sizes if name.startswith(bag.PAYLOAD)]
        expected, document = crate_metadata(records, names), self._files.read(bag.CRATE)
        if document != expected:
            raise EvidenceError(bag.CRATE, _difference(expected, document))
        return "; the RO-Crate says what they say"


def _difference(expected: bytes, document: bytes) -> str:
    """Describe the first entity in which two documents differ."""
    wanted, found = _entities(parse_object(expected, bag.CRATE)), _entities(parse_canonical(document, bag.CRATE))
    for entity in chain(wanted, found):
        want, got = wanted.get(entity, {}), found.get(entity, {})
        for name in chain(want, got):
            if want.get(name) != got.get(name):
                said = f"entity {shown(entity)}: {printable(name)}: expected {shown(want.get(name))}"
                return f"{said} as records and files say, got {shown(got.get(name))}"
    return "expected the entities as records and files say, each once and in their order, got others"


def _entities(document: Mapping[str, Json]) -> dict[str, Mapping[str, Json]]:
    """Return the entities by id."""
    graph = document.get("@graph")
    entities = [entity for entity in graph if isinstance(entity, dict)] if isinstance(graph, list) else []
    return {str(entity.get("@id")): entity for entity in entities}

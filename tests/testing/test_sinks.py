"""Sinks that break their contract fail tests of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from elspeth.contracts.plugins import (
    Dataset,
    JsonObject,
    PluginError,
    RowRejectedError,
    StagedOutput,
)
from elspeth.contracts.rows import RowData
from elspeth.plugins.files import FileSinkOptions
from elspeth.plugins.json import JsonlSink
from elspeth.testing import (
    SinkContract,
)
from tests.testing.breaking import failing


class WritingContract(SinkContract):
    plugin = JsonlSink
    rows = ({"id": 1}, {"id": 2}, {"id": 3})
    rejected = ({"id": "seven"},)

    def options(self, directory: Path) -> Mapping[str, object]:
        return {"path": str(directory / "out"), "schema": {"mode": "free", "fields": ["id: int"]}}


class Lines(JsonlSink):
    """Rows as JSON Lines."""

    options: FileSinkOptions


class Early(Lines):
    """Shows rows before they are published."""

    def write(self, row: RowData) -> None:
        super().write(row)
        Path(self.options.path).write_text("early")


class Misdescribed(Lines):
    """Describes another output."""

    def finish(self) -> StagedOutput | None:
        output = super().finish()
        return output and replace(output, content_hash="0" * 64)


class Forgetful(Lines):
    """Starts again instead of resuming."""

    def reopen(self, staging_name: str, position: JsonObject) -> None:  # noqa: ARG002
        Path(self.options.path).with_name(".out.run-1.partial").unlink(missing_ok=True)
        self.open(staging_name)


class Leaving(Lines):
    """Does not remove discarded files."""

    def discard(self) -> None:
        self.close()


class Confirming(Lines):
    """Confirms everything."""

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:  # noqa: ARG002
        return True


class Greedy(Lines):
    """Takes every row."""

    def write(self, row: RowData) -> None:
        super().write({**row, "id": 7})


class Changing(Lines):
    """Changes the rows that it takes."""

    def write(self, row: RowData) -> None:
        super().write(row)
        row.clear()


class Republishing(Lines):
    """Changes what is published already."""

    def publish(self) -> None:
        path = Path(self.options.path)
        if path.exists():
            path.write_text("again")
        else:
            super().publish()


class Resized(Lines):
    """Describes an output of another size."""

    def finish(self) -> StagedOutput | None:
        output = super().finish()
        return output and replace(output, size_bytes=output.size_bytes + 1)


class Telling(Lines):
    """Repeats the value that it rejects."""

    def write(self, row: RowData) -> None:
        try:
            super().write(row)
        except RowRejectedError as error:
            raise RowRejectedError(f"got {row['id']}") from error


class Denying(Lines):
    """Confirms nothing."""

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:  # noqa: ARG002
        return False


class Renaming(Lines):
    """Gives its output another name each time."""

    names = iter(map(str, range(1_000)))

    def dataset(self) -> Dataset:
        return Dataset(namespace="file", name=next(self.names))


class Leading(Lines):
    """Leaves a file when it names its output."""

    def dataset(self) -> Dataset | None:
        Path(self.options.path).with_name("named").touch()
        return super().dataset()


class Hasty(Lines):
    """Shows its output when it is finished."""

    def finish(self) -> StagedOutput | None:
        output = super().finish()
        super().publish()
        return output


class Resuming(Lines):
    """Knows whether it was resumed."""

    is_resumed = False

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        super().reopen(staging_name, position)
        self.is_resumed = True


class Misremembering(Resuming):
    """Describes another output after a resume."""

    def finish(self) -> StagedOutput | None:
        output = super().finish()
        return replace(output, path=f"{output.path}.1") if output and self.is_resumed else output


class Touching(Lines):
    """Changes an output that it confirms."""

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        is_there = super().confirm(staging_name, output)
        if is_there:
            Path(self.options.path).write_text("confirmed")
        return is_there


class Counting(Lines):
    """Has a position that JSON changes."""

    def position(self) -> JsonObject:
        return {**super().position(), "parts": (1, 2)}

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        if position["parts"] != (1, 2):
            raise ValueError
        super().reopen(staging_name, position)


class Losing(Lines):
    """Goes on without the rows that it lost."""

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        try:
            super().reopen(staging_name, position)
        except PluginError:
            self.open(staging_name)


class Undescribed(Lines):
    """Has an output that nobody described."""

    def finish(self) -> StagedOutput | None:
        super().finish()
        return None


class Split(Resuming):
    """Describes its output only after a resume."""

    def finish(self) -> StagedOutput | None:
        output = super().finish()
        return output if self.is_resumed else None


def _describing(name: str, **members: str) -> type[Lines]:
    """Return a sink that describes its output so."""

    def finish(self: Lines) -> StagedOutput | None:
        output = Lines.finish(self)
        return output and replace(output, **members)  # type: ignore[arg-type]

    return type(name, (Lines,), {"finish": finish, "__doc__": "Describes an output badly."})


DATASET = "it_names_its_dataset_before_it_writes"
DESCRIBED = "the_finished_output_is_described_as_it_is"
CONFIRMS = "it_confirms_what_was_published"
GOES_ON = "it_goes_on_in_another_process"


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        (Lines, []),
        (Changing, []),
        (Republishing, ["nothing_is_seen_before_it_is_published"]),
        (Resized, ["the_finished_output_is_described_as_it_is"]),
        (Telling, ["a_rejected_row_leaves_nothing"]),
        (Denying, ["it_confirms_what_was_published"]),
        (Renaming, [DATASET]),
        (Leading, [DATASET]),
        (
            Early,
            [
                "a_rejected_row_leaves_nothing",
                "it_goes_on_in_another_process",
                "nothing_is_seen_before_it_is_published",
                "the_finished_output_is_described_as_it_is",
                "what_is_discarded_leaves_nothing",
            ],
        ),
        (Misdescribed, ["it_confirms_what_was_published", "the_finished_output_is_described_as_it_is"]),
        (
            Forgetful,
            [
                "it_confirms_what_was_published",
                "it_goes_on_in_another_process",
                "it_refuses_to_go_on_from_what_is_not_there",
            ],
        ),
        (Leaving, ["it_refuses_to_go_on_from_what_is_not_there", "what_is_discarded_leaves_nothing"]),
        (Confirming, ["it_confirms_what_was_published"]),
        (Greedy, ["a_rejected_row_leaves_nothing"]),
        (Hasty, [CONFIRMS, "nothing_is_seen_before_it_is_published"]),
        (Misremembering, [CONFIRMS]),
        (Touching, [CONFIRMS]),
        (Counting, [CONFIRMS, GOES_ON, "it_refuses_to_go_on_from_what_is_not_there"]),
        (Losing, ["it_refuses_to_go_on_from_what_is_not_there"]),
        (Undescribed, []),
        (Split, [GOES_ON]),
        (_describing("Untyped", artifact_type=""), [DESCRIBED]),
        (_describing("Unplaced", path=""), [DESCRIBED]),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_exactly_the_tests_of_the_rules_that_a_sink_breaks_fail(
    plugin: type[Lines], expected: list[str], tmp_path: Path
) -> None:
    contract = type("Contract", (WritingContract,), {"plugin": plugin})
    assert failing(contract, tmp_path) == expected


def test_a_hash_must_be_of_sha256_even_where_the_output_is_no_file(tmp_path: Path) -> None:
    class Contract(WritingContract):
        plugin = _describing("Short", content_hash="0" * 32)

        def published(self, directory: Path) -> object:
            return super().published(directory) and {"rows": 3}

    assert failing(Contract, tmp_path) == [CONFIRMS, DESCRIBED]


def test_a_contract_with_a_single_row_tests_too_little(tmp_path: Path) -> None:
    contract = type("Contract", (WritingContract,), {"rows": ({"id": 1},)})
    assert failing(contract, tmp_path) == [
        "a_rejected_row_leaves_nothing",
        CONFIRMS,
        GOES_ON,
        "it_refuses_to_go_on_from_what_is_not_there",
        "nothing_is_seen_before_it_is_published",
        DESCRIBED,
        "what_is_discarded_leaves_nothing",
    ]

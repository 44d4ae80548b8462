"""Plugins that break their contracts fail tests of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, cast

import pytest
from pydantic import BaseModel, ConfigDict

from elspeth.contracts.enums import Determinism
from elspeth.contracts.plugins import (
    Aggregation,
    DistinctTransform,
    FieldOrigins,
    JsonObject,
    PluginError,
    PluginOptions,
    RowDrop,
    RowError,
    Transform,
    TransformOptions,
)
from elspeth.contracts.rows import RowData
from elspeth.plugins.llm.transform import LlmTransform
from elspeth.testing import (
    AggregationContract,
    CallingTransformContract,
    DistinctTransformContract,
    PluginContract,
    TransformContract,
)
from tests.testing.breaking import failing

# -- every plugin ----------------------------------------------------------------------------------------------------


class Sound(Transform):
    """A transform that keeps its contract."""

    name = "sound"
    plugin_version = "1.0.0"
    options_model: ClassVar[type[PluginOptions]] = TransformOptions

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return RowError(message="field 'no' is there", details={"field": "no"}) if "no" in row else row


class SoundContract(TransformContract):
    plugin: ClassVar[type[Transform]] = Sound
    rows = ({"id": 1}, {"id": 2})
    refused = ({"no": "forbidden value"},)


class LaxOptions(TransformOptions):
    """Options that accept any other."""

    model_config = ConfigDict(extra="allow")


class WritingOptions(TransformOptions):
    """The path of a file that is written too early."""

    path: str


class WritingTransform(Sound):
    """Writes a file when it is made."""

    options_model: ClassVar[type[PluginOptions]] = WritingOptions

    def __init__(self, options: WritingOptions) -> None:
        super().__init__(options)
        Path(options.path).touch()


# -- transforms ------------------------------------------------------------------------------------------------------


class Counting(Sound):
    """Numbers the rows."""

    count = 0

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        self.count += 1
        return super().process({**row, "count": self.count})


class Repeating(Sound):
    """Repeats a value in its error."""

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return RowError(message=f"got {row['no']}") if "no" in row else row


class Hiding(Sound):
    """Repeats a value in the details of its error."""

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return RowError(message="no", details={"got": [row["no"]]}) if "no" in row else row


class Changing(Sound):
    """Changes the row that it gets."""

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        row["count"] = cast(int, row.get("count", 0)) + 1
        return super().process(row)


def _refusing(message: str, **details: object) -> type[Transform]:
    """Return a transform that refuses rows so."""

    def process(_: Transform, row: RowData) -> RowData | RowError:
        return RowError(message=message, details=details) if "no" in row else row

    return type("Refusing" + "".join(details), (Sound,), {"process": process})


class Vanishing(Sound):
    """Makes no rows of one."""

    expands = True

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return super().process(row) if "no" in row else []


class Raising(Sound):
    """Raises instead of returning an error."""

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        if "no" in row:
            raise ValueError
        return row


class Expanding(Sound):
    """Makes two rows without saying so."""

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return super().process(row) if "no" in row else [row, row]


class Unrecordable(Sound):
    """Makes a row with a value that rows cannot hold."""

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return super().process(row) if "no" in row else {**row, "size": {1}}


class Lengthening(Sound):
    """Adds a computed field and a copy."""

    origins: ClassVar[FieldOrigins]

    def field_origins(self) -> FieldOrigins:
        return self.origins

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return super().process(row if "no" in row else {"id": row["id"], "name": "x", "copy": row["id"]})


class Renumbering(Lengthening):
    """Changes a field."""

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return Sound.process(self, row if "no" in row else {"id": -cast(int, row["id"])})


class Dropping(Lengthening):
    """Leaves a field out."""

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return Sound.process(self, row if "no" in row else {"name": "x"})


class Unready(Sound):
    """Cannot work here."""

    def check(self) -> None:
        raise PluginError("there is nothing")


class Wavering(Sound):
    """Names other origins each time."""

    times = iter(range(1_000))

    def field_origins(self) -> FieldOrigins:
        return FieldOrigins(derived={str(next(self.times)): []})


class Lenient(Sound):
    """Accepts what it should refuse."""

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        return row


class PlainOptions(BaseModel):
    """Options that are not those of a plugin."""

    model_config = ConfigDict(extra="forbid")
    on_error: str | None = None


ORIGINS = "fields_have_the_origins_that_it_names"
INPUT = "the_same_input_has_the_same_result_after_a_resume"
ERRORS = "what_it_refuses_gets_an_error_that_repeats_no_value"
BATCHES = "batches_that_it_accepts_become_rows"
NAMES = "it_has_a_name_a_version_and_a_description"
ROWS = "rows_that_it_accepts_become_rows"


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        (Sound, []),
        (type("Nameless", (Sound,), {"name": ""}), [NAMES]),
        (type("Unversioned", (Sound,), {"plugin_version": ""}), [NAMES]),
        (type("Undescribed", (Sound,), {"__doc__": ""}), [NAMES]),
        (type("Lax", (Sound,), {"options_model": LaxOptions}), ["its_options_refuse_unknown_ones"]),
        (Changing, []),
        (Counting, [INPUT]),
        (type("Varying", (Counting,), {"determinism": Determinism.NON_DETERMINISTIC}), []),
        (_refusing(""), [ERRORS]),
        (_refusing("no", seen={1}), [ERRORS]),
        (Vanishing, [ROWS]),
        (Repeating, [ERRORS]),
        (Hiding, [ERRORS]),
        (Raising, [INPUT, ERRORS]),
        (Expanding, [ROWS]),
        (Unrecordable, [ROWS]),
        (Unready, [ROWS, INPUT, ERRORS]),
        (Wavering, [ORIGINS]),
        (Lenient, [ERRORS]),
        (type("Plain", (Sound,), {"options_model": PlainOptions}), ["its_options_refuse_unknown_ones"]),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_exactly_the_tests_of_the_rules_that_a_transform_breaks_fail(
    plugin: type[Transform], expected: list[str], tmp_path: Path
) -> None:
    if plugin.__doc__ is None:
        plugin.__doc__ = "A transform."
    contract = type("Contract", (SoundContract,), {"plugin": plugin})
    assert failing(contract, tmp_path) == expected


def test_an_error_may_repeat_an_option(tmp_path: Path) -> None:
    class Contract(SoundContract):
        plugin = _refusing("forbidden as an option")
        refused = ({"no": "forbidden"},)

        def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
            return {"on_error": "forbidden"}

    Contract.plugin.__doc__ = "Refuses what an option names."
    assert failing(Contract, tmp_path) == []


@pytest.mark.parametrize("is_sound", [True, False])
@pytest.mark.parametrize(
    ("plugin", "sound", "unsound"),
    [
        (
            Lengthening,
            [
                FieldOrigins(same={"copy": "id"}, derived={"name": []}),
                FieldOrigins(same={"copy": "id", "id": "id"}, derived={"name": []}, keeps_others=False),
            ],
            [
                FieldOrigins(same={"copy": "id"}),
                FieldOrigins(same={"copy": "id"}, changed=["name"]),
                FieldOrigins(same={"copy": "other"}, derived={"name": []}),
                FieldOrigins(same={"copy": "id"}, derived={"name": []}, removed=["id"]),
                FieldOrigins(same={"copy": "id"}, derived={"name": []}, keeps_others=False),
            ],
        ),
        (
            Renumbering,
            [FieldOrigins(changed=["id"]), FieldOrigins(removed=["id"], derived={"id": ["id"]})],
            [FieldOrigins(), FieldOrigins(same={"id": "id"}), FieldOrigins(same={"id": "id"}, changed=["id"])],
        ),
        (
            Dropping,
            [
                FieldOrigins(derived={"name": []}, removed=["id"]),
                FieldOrigins(derived={"name": []}, keeps_others=False),
            ],
            [FieldOrigins(derived={"name": []})],
        ),
    ],
)
def test_origins_of_fields_must_agree_with_the_rows(
    plugin: type[Lengthening],
    sound: list[FieldOrigins],
    unsound: list[FieldOrigins],
    *,
    is_sound: bool,
    tmp_path: Path,
) -> None:
    for number, origins in enumerate(sound if is_sound else unsound):
        named = type("Named", (plugin,), {"origins": origins, "__doc__": "Names origins."})
        contract = type("Contract", (SoundContract,), {"plugin": named})
        place = tmp_path / str(number)
        place.mkdir()
        assert failing(contract, place) == ([] if is_sound else [ORIGINS]), origins


def test_a_contract_without_inputs_tests_nothing(tmp_path: Path) -> None:
    class Summing(Aggregation):
        """Counts rows."""

        name = "summing"
        plugin_version = "1.0.0"

        def process(self, rows: list[RowData]) -> list[RowData] | RowError:
            return [{"count": len(rows)}]

    contracts: tuple[type[PluginContract], ...] = (
        type("Contract", (SoundContract,), {"rows": ()}),
        type("Batches", (AggregationContract,), {"plugin": Summing, "batches": ()}),
    )
    for number, (contract, expected) in enumerate(zip(contracts, (ROWS, BATCHES), strict=True)):
        place = tmp_path / str(number)
        place.mkdir()
        assert failing(contract, place) == [expected]


def test_a_contract_with_wrong_options_does_not_pass_for_an_unknown_option(tmp_path: Path) -> None:
    class Contract(SoundContract):
        def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
            return {"misspelt": 1}

    assert "its_options_refuse_unknown_ones" in failing(Contract, tmp_path)


def test_a_plugin_must_not_change_a_file_when_it_is_created(tmp_path: Path) -> None:
    class Emptying(Sound):
        """Empties a file when it is made."""

        options_model: ClassVar[type[PluginOptions]] = WritingOptions

        def __init__(self, options: WritingOptions) -> None:
            super().__init__(options)
            Path(options.path).write_text("")

    class Contract(SoundContract):
        plugin = Emptying

        def options(self, directory: Path) -> Mapping[str, object]:
            path = directory / "table.csv"
            path.write_text("content")
            return {"path": str(path)}

    assert failing(Contract, tmp_path) == ["making_it_writes_nothing"]


def test_a_plugin_must_not_write_when_it_is_created(tmp_path: Path) -> None:
    class Contract(SoundContract):
        plugin = WritingTransform

        def options(self, directory: Path) -> Mapping[str, object]:
            return {"path": str(directory / "early")}

    assert failing(Contract, tmp_path) == ["making_it_writes_nothing"]


def test_a_request_that_varies_cannot_be_replayed(tmp_path: Path) -> None:
    class Varying(LlmTransform):
        """Numbers its requests."""

        made = iter(range(1_000))

        def request(self, row: RowData) -> JsonObject | RowError:  # noqa: ARG002
            return {"number": next(self.made)}

    class Contract(CallingTransformContract):
        plugin = Varying
        rows = ({"id": 1},)

        def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
            return {"base_url": "http://127.0.0.1:1", "model": "m", "prompt": "p"}

        def answer(self, request: JsonObject) -> JsonObject:  # noqa: ARG002
            return {"status": 200, "body": {"choices": [{"message": {"content": "text"}}]}}

    assert failing(Contract, tmp_path) == ["requests_and_answers_can_be_recorded"]


@pytest.mark.parametrize("is_repeated", [False, True])
def test_keys_must_distinguish_rows(*, is_repeated: bool, tmp_path: Path) -> None:
    class Keyed(DistinctTransform):
        """Gives all rows one key, or different ones."""

        name = "keyed"
        plugin_version = "1.0.0"

        def key(self, row: RowData) -> object | RowError:
            return row["id"] if is_repeated else 1

    class Contract(DistinctTransformContract):
        plugin = Keyed
        rows = ({"id": 1}, {"id": 2})
        repeated = ({"id": 1}, {"id": 2}) if is_repeated else ()

    assert failing(Contract, tmp_path) == ["its_keys_tell_rows_apart"]


class CallingContract(CallingTransformContract):
    plugin = LlmTransform
    rows = ({"id": 1},)

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"base_url": "http://127.0.0.1:1", "model": "m", "prompt": "p"}

    def answer(self, request: JsonObject) -> JsonObject:  # noqa: ARG002
        return {"status": 200, "body": {"choices": [{"message": {"content": "text"}}]}}


def test_what_a_calling_transform_records_must_be_json(tmp_path: Path) -> None:
    class Answering(CallingContract):
        def answer(self, request: JsonObject) -> JsonObject:
            return {**super().answer(request), "seen": {1}}

    class Comparing(LlmTransform):
        """Compares what JSON cannot hold."""

        def comparable(self, response: JsonObject) -> JsonObject:
            return {**response, "seen": {1}}

    class Refusing(LlmTransform):
        """Refuses to ask."""

        def request(self, row: RowData) -> JsonObject | RowError:
            return RowError(message="no") if "no" in row else super().request(row)

    contracts: dict[type[PluginContract], list[str]] = {
        type("Sound", (CallingContract,), {"plugin": Refusing, "refused": ({"no": 1},)}): [],
        Answering: ["requests_and_answers_can_be_recorded"],
        type("Comparing", (CallingContract,), {"plugin": Comparing}): ["requests_and_answers_can_be_recorded"],
    }
    for number, (contract, expected) in enumerate(contracts.items()):
        place = tmp_path / str(number)
        place.mkdir()
        assert failing(contract, place) == expected


def test_a_calling_transform_needs_a_service(tmp_path: Path) -> None:
    class Contract(CallingTransformContract):
        plugin = type("Unnamed", (LlmTransform,), {"service": "", "__doc__": "Has no service."})
        rows = ({"id": 1},)

        def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
            return {"base_url": "http://127.0.0.1:1", "model": "m", "prompt": "p"}

        def answer(self, request: JsonObject) -> JsonObject:  # noqa: ARG002
            return {"status": 200, "body": {"choices": [{"message": {"content": "text"}}]}}

    assert failing(Contract, tmp_path) == ["it_names_the_service_that_it_calls"]


def test_inputs_besides_rows_must_be_reproducible(tmp_path: Path) -> None:
    class Unsteady(Sound):
        """Reads something else each time."""

        times = iter(range(1_000))

        def prepare(self) -> JsonObject:
            return {"read": next(self.times)}

    class Contract(SoundContract):
        plugin = Unsteady

    assert failing(Contract, tmp_path) == ["what_it_reads_besides_rows_is_described_the_same"]


def test_a_drop_must_have_a_reason_without_values(tmp_path: Path) -> None:
    class Telling(Sound):
        """Drops rows, and says which."""

        def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
            return RowDrop(reason=f"{row['name']} is not wanted") if "name" in row else super().process(row)

    class Contract(SoundContract):
        plugin = Telling
        rows = ({"name": "Eve Stone"}, {"id": 2})

    assert failing(Contract, tmp_path) == [ROWS]


def test_an_aggregation_must_not_remember_batches(tmp_path: Path) -> None:
    class Remembering(Aggregation):
        """Returns all rows so far."""

        name = "remembering"
        plugin_version = "1.0.0"

        def __init__(self, options: PluginOptions) -> None:
            super().__init__(options)
            self.all: list[RowData] = []

        def process(self, rows: list[RowData]) -> list[RowData] | RowError:
            self.all += rows
            return list(self.all)

    class Contract(AggregationContract):
        plugin = Remembering
        batches = ([{"id": 1}], [{"id": 2}])

    assert failing(Contract, tmp_path) == [INPUT]


def test_rows_of_a_batch_must_be_recordable(tmp_path: Path) -> None:
    class Unrecordable(Aggregation):
        """Makes a row with a value that rows cannot hold."""

        name = "unrecordable"
        plugin_version = "1.0.0"

        def process(self, rows: list[RowData]) -> list[RowData] | RowError:
            return [{"ids": {row.pop("id") for row in rows}}]

    class Contract(AggregationContract):
        plugin = Unrecordable
        batches = ([{"id": 1}], [{"id": 2}])

    assert failing(Contract, tmp_path) == [BATCHES]


@pytest.mark.parametrize("is_list", [True, False])
def test_a_batch_becomes_a_list(*, is_list: bool, tmp_path: Path) -> None:
    class Plural(Aggregation):
        """Returns several rows, perhaps as a tuple."""

        name = "plural"
        plugin_version = "1.0.0"

        def process(self, rows: list[RowData]) -> list[RowData] | RowError:
            return rows if is_list else tuple(rows)  # type: ignore[return-value]

    class Contract(AggregationContract):
        plugin = Plural
        batches = ([{"id": 1}], [{"id": 2}])

    assert failing(Contract, tmp_path) == ([] if is_list else [BATCHES])

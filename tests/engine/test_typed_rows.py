"""Values of typed fields on their way through a run."""

import hashlib
from contextlib import chdir
from pathlib import Path

import pytest
from pyarrow import parquet

from elspeth.contracts.plugins import Transform
from elspeth.contracts.rows import RowData
from tests.engine.killing import begin_killed_run, work
from tests.engine.pipelines import Settings, build, groups_of, outcomes, trail
from tests.plugins.typed_rows import FIELDS, TYPED

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # a process that is killed closes nothing
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
HEADER = "id,paid,day,at,took\n"
LINES = [f"{number},12.3,2026-03-01,2026-03-01T13:30:00.000005+01:00,PT1439M\n" for number in range(6)]


class TypesTransform(Transform):
    """A transform that expects values of Python's own types."""

    name = "types"
    plugin_version = "1"

    def process(self, row: RowData) -> RowData:
        assert {name: value for name, value in row.items() if name in TYPED} == TYPED
        assert [type(row[name]) for name in TYPED] == [type(value) for value in TYPED.values()]
        return row


def settings() -> Settings:
    """Return settings in which rows wait for others.

    Only a schema of the source makes the values of their types.
    """
    return {
        "datasource": {
            "plugin": "csv",
            "options": {"path": "in.csv", "schema": {"mode": "strict", "fields": ["id: int", *FIELDS]}},
        },
        "row_plugins": [{"plugin": "types", "branch": "a"}],
        "aggregations": [
            {
                "name": "copies",
                "plugin": "batch_replicate",
                "trigger": {"count": 3},
                "output_mode": "transform",
                "options": {"include_copy_index": False},
            }
        ],
        "gates": [
            {
                "name": "both",
                "condition": "True",
                "routes": {"true": "fork", "false": "continue"},
                "fork_to": ["a", "b"],
            }
        ],
        "coalesce": [{"name": "again", "branches": ["a", "b"]}],
        "sinks": {"out": {"plugin": "parquet", "options": {"path": "out.parquet"}}},
        "output_sink": "out",
        "landscape": {"url": "sqlite:///audit.db"},
    }


@pytest.mark.parametrize("after", [8, 11])
def test_values_keep_their_types_while_they_wait_for_a_resumed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    groups_of(monkeypatch, 1)
    with chdir(tmp_path):
        Path("in.csv").write_text(HEADER + "".join(LINES))
        run_id = begin_killed_run(build(tmp_path, settings(), TypesTransform), tmp_path, after)
        assert 0 < len(trail(tmp_path)["row"]) < len(LINES)
        work(build(tmp_path, settings(), TypesTransform), lambda each: each.resume(run_id))
        records = trail(tmp_path)
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == [{"id": number, **TYPED} for number in range(6)]
    assert {outcome for outcome, _ in outcomes(records)} <= {
        *("consumed_in_batch", "buffered", "forked", "coalesced", "completed"),
    }
    canonical = '{"at":"2026-03-01T12:30:00.000005Z","day":"2026-03-01","id":0,"paid":"12.30","took":"PT23H59M"}'
    assert records["row"][0]["source_data_hash"] == hashlib.sha256(canonical.encode()).hexdigest()

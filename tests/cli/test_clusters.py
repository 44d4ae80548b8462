"""Runs on a Dask cluster, if the extra is installed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import main
from elspeth.cli.clusters import ClusterWorkers
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.lines import ranges
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth.engine.errors import WorkerError
from elspeth.evidence.format import bag
from elspeth.evidence.verifier.verify import verify_bag
from tests.engine.pipelines import trail
from tests.engine.told import tell
from tests.fixtures.object_store import Bucket, Failure

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

SETTINGS = """
datasource:
  plugin: csv
  options: {path: in.csv, schema: {mode: strict, fields: ["id: int", "d: int"]}, on_validation_failure: discard}
row_plugins: [{plugin: value_transform, options: {fields: {half: "6 / row['d']"}, on_error: bad}}]
gates:
  - {name: fork, condition: "row['id'] > 9", routes: {"true": fork, "false": continue}, fork_to: [a, b]}
coalesce: [{name: meet, branches: [a, b]}]
output_sink: out
sinks:
  out: {plugin: csv, options: {path: out.csv}}
  bad: {plugin: csv, options: {path: bad.csv}}
payload_store: {base_path: payloads}
landscape: {url: "sqlite:///audit.db"}
"""
IN_PROCESS: dict[str, Any] = {
    "threads_per_worker": 1,
    "processes": False,
    "dashboard_address": "127.0.0.1:0",
    "protocol": "tcp://",
    "host": "127.0.0.1",
}
RUN = ("run", "-s", "settings.yaml", "-x", "--no-dotenv")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start a cluster in this process, and return its address."""
    with distributed.LocalCluster(**IN_PROCESS, n_workers=2) as local:
        yield local.scheduler_address


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(SETTINGS)
    rows = "".join(f"{number},{number % 7}\n" for number in range(60))
    Path("in.csv").write_text(f"id,d\n{rows}".replace("13,6", "13,x"))


def left_by_the_run(directory: Path) -> tuple[bytes, bytes, Counter[str]]:
    """Return what a run leaves, without ids, times and salts."""
    records, store = trail(directory), FilesystemPayloadStore(directory / "payloads")
    for event in records["routing_event"]:
        # The hash of a reason depends on its random salt.
        reason = json.loads(store.retrieve(event.pop("reason_ref")))
        event["reason_hash"] = reason | {"salt": "salt" in reason}
    return Path("out.csv").read_bytes(), Path("bad.csv").read_bytes(), tell(records)


def test_a_run_on_a_cluster_gives_the_results_of_one_process(tmp_path: Path, cluster: str) -> None:
    assert main([*RUN]) == 0
    alone = left_by_the_run(tmp_path)
    assert main([*RUN, "--cluster", cluster]) == 0
    assert left_by_the_run(tmp_path) == alone


def test_a_cluster_checks_seals_like_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cluster: str
) -> None:
    assert main([*RUN]) == 0
    monkeypatch.setattr(ranges, "_PART", 20)
    capsys.readouterr()
    said = []
    for options in ([], ["--cluster", cluster]):
        assert main(["landscape", "check", "-d", "audit.db", "--json", *options]) == 0
        said.append(capsys.readouterr())
    assert said[0] == said[1]


def test_a_cluster_exports_and_verifies_like_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cluster: str
) -> None:
    assert main([*RUN]) == 0
    monkeypatch.setattr(ranges, "_PART", 20)
    said = []
    for name, options in (("alone", []), ("shared", ["--cluster", cluster])):
        assert main(["export", "latest", "-d", "audit.db", "-o", name, "--format", "bag", *options]) == 0
        capsys.readouterr()
        assert main(["verify", name, "--json", *options]) == 1  # unsigned
        said.append(capsys.readouterr())
    assert said[0] == said[1]
    for file in (bag.RECORDS, bag.LEAVES, bag.STATEMENT):
        assert (Path("shared") / file).read_bytes() == (Path("alone") / file).read_bytes()


def test_a_database_that_workers_do_not_see_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cluster: str
) -> None:
    assert main([*RUN]) == 0
    monkeypatch.setattr("elspeth.cli.clusters._sees", lambda _: False)
    assert main(["export", "latest", "-d", "audit.db", "-o", "trail.jsonl", "--cluster", cluster]) == 2
    assert f"--cluster: 2 of 2 workers do not see {Path('audit.db').absolute()}" in capsys.readouterr().err
    assert not Path("trail.jsonl").exists()


def test_the_executor_of_a_cluster_shares_exports_and_verification(tmp_path: Path, cluster: str) -> None:
    assert main([*RUN]) == 0
    with distributed.Client(cluster) as client, LandscapeDB.from_url("sqlite:///audit.db") as db:
        executor = client.get_executor()
        run_id = trail(tmp_path)["run"][0]["run_id"]
        write_export(db, run_id, Path("bag"), format=ExportFormat.BAG, executor=executor)
        alone = verify_bag(Path("bag"))
        assert verify_bag(Path("bag"), executor=executor) == alone


class SilentClient:
    """A client of a scheduler that never answers."""

    status = "running"

    def get_executor(self, *, retries: int) -> SilentClient:
        assert retries
        return self

    def submit(self, *_: object) -> Future[bytes]:
        return Future()

    def ncores(self) -> dict[str, int]:
        raise TimeoutError


def test_work_that_was_sent_while_the_connection_broke_fails_with_it() -> None:
    client = SilentClient()
    workers = ClusterWorkers(client, "tcp://scheduler:8786")
    sent = workers.submit(repr, 1)
    client.status = "connecting"
    with pytest.raises(WorkerError, match="the Dask scheduler at tcp://scheduler:8786 does not answer any more"):
        sent.result(timeout=10)
    for broken in ("connecting", "running"):
        client.status = broken
        with pytest.raises(WorkerError, match="does not answer any more"):
            _ = workers.count
    workers.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cluster", "tcp://127.0.0.1:9"], "no Dask scheduler answers at tcp://127.0.0.1:9"),
        (["--cluster", "tcp://127.0.0.1:9", "--workers", "2"], "--workers and --cluster contradict each other"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    monkeypatch.setattr("elspeth.cli.clusters._PATIENCE_S", 0.5)
    assert main([*RUN, *options]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out.csv").exists()


def test_workers_that_do_not_see_the_payload_store_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cluster: str
) -> None:
    monkeypatch.setattr("elspeth.cli.clusters._sees", lambda _: False)
    assert main([*RUN, "--cluster", cluster]) == 2
    assert "--cluster: 2 of 2 workers do not see" in capsys.readouterr().err


def test_workers_that_cannot_write_to_a_payload_store_of_objects_are_named(
    bucket: Bucket, capsys: pytest.CaptureFixture[str], cluster: str
) -> None:
    store = bucket.url("payloads")
    bucket.server.fail(Failure(method="POST", times=2, status=403, code="AccessDenied"))
    Path("settings.yaml").write_text(SETTINGS.replace("{base_path: payloads}", f"{{base_path: '{store}'}}"))
    assert main([*RUN, "--cluster", cluster]) == 2
    assert f"--cluster: 2 of 2 workers cannot write to {store}, beginning with" in capsys.readouterr().err
    assert main([*RUN, "--cluster", cluster]) == 0
    assert len(bucket.listed()) >= 60


def test_rate_limits_need_a_file_that_all_share(capsys: pytest.CaptureFixture[str]) -> None:
    settings = SETTINGS + "rate_limit: {default_requests_per_second: 1}\n"
    llm = "row_plugins: [{plugin: llm, options: {base_url: 'http://127.0.0.1:9', model: m, prompt: p}}, {"
    Path("settings.yaml").write_text(settings.replace("row_plugins: [{", llm))
    assert main([*RUN, "--cluster", "tcp://127.0.0.1:9"]) == 2
    assert "persistence_path that all workers share" in capsys.readouterr().err

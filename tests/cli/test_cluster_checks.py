"""What commands ask of a Dask cluster, without one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self, cast

import pytest

from elspeth.cli import clusters
from elspeth.cli.clusters import ClusterWorkers, cluster_workers, prepare_workers, require_runnable, shared_places
from elspeth.cli.failures import UsageError
from elspeth.core import payload_places
from elspeth.engine.errors import WorkerError
from elspeth.engine.pipeline import Pipeline
from elspeth.objects.address import ObjectPath
from elspeth.plugins.manager import PluginManager

ADDRESS = "tcp://scheduler:8786"
LOST = f"^the Dask scheduler at {ADDRESS} does not answer any more$"
CALLING = PluginManager.installed().transform("http", {"url": "https://example.com/"})


class KilledWorkerError(Exception):
    """What Dask raises of work over which workers died."""

    allowed_failures = 2
    last_worker = SimpleNamespace(address="tcp://worker:1")


class Sending(Executor):
    """An executor whose work ends when the test says so."""

    def __init__(self) -> None:
        self.sent: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401, ARG002  as the base class
        self.sent.append(Future())
        return self.sent[-1]


class Client:
    """A client of a cluster of three workers."""

    given: ClassVar[list[tuple[object, ...]]] = []
    answers: ClassVar[list[object]] = [True, True, True]
    is_closed = False

    def __init__(self, address: str, *, timeout: float, set_as_default: bool) -> None:
        self.given.append((address, timeout, set_as_default))
        self.status = "running"
        self.executor = Sending()
        self.workers = 3

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = True

    def wait_for_workers(self, count: int, *, timeout: float) -> None:
        self.given.append((count, timeout))

    def get_executor(self, *, retries: int) -> Sending:
        self.given.append((retries,))
        return self.executor

    def ncores(self) -> dict[str, int]:
        return dict.fromkeys(map(str, range(self.workers)), 1)

    def run(self, function: Callable[[str], object], text: str) -> dict[str, object]:
        function(text)
        return dict(zip(("tcp://c", "tcp://b", "tcp://a"), self.answers, strict=True))


@pytest.fixture(autouse=True)
def _our_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "missing_package", lambda *_: None)
    monkeypatch.setitem(
        sys.modules,
        "distributed",
        cast("Any", SimpleNamespace(Client=Client, KilledWorker=KilledWorkerError)),
    )
    monkeypatch.setattr(clusters, "_WATCH_S", 0.001)
    monkeypatch.setattr(Client, "given", [])


def refusal(*arguments: Any) -> str:  # noqa: ANN401
    with pytest.raises(UsageError) as caught, cluster_workers(ADDRESS, *arguments):
        pass
    return str(caught.value)


def test_the_client_is_closed_with_its_workers() -> None:
    before = threading.enumerate()
    with cluster_workers(ADDRESS) as workers:
        assert isinstance(workers, ClusterWorkers)
        client = cast("Client", workers._client)
        (watching,) = (each for each in threading.enumerate() if each not in before)
    watching.join(10)
    assert not watching.is_alive()
    assert client.is_closed
    assert client.given == [(ADDRESS, 10, False), (1, 10), (2,)]


@pytest.mark.parametrize("error", [OSError, TimeoutError])
def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("no")

    monkeypatch.setattr(Client, "__init__", fail)
    assert refusal() == f"--cluster: no Dask scheduler answers at {ADDRESS} ({error.__name__})"


def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(Client, "__init__", fail)
    expected = "the address of a Dask scheduler, such as tcp://scheduler:8786"
    assert refusal() == f"--cluster: expected {expected}, got {ADDRESS!r}"


def test_a_scheduler_without_workers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(Client, "wait_for_workers", fail)
    assert refusal() == f"--cluster: the Dask scheduler at {ADDRESS} has no workers"


def test_places_that_workers_do_not_see_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster_workers(ADDRESS, [tmp_path], [tmp_path / "payloads"]):
        assert list((tmp_path / "payloads").iterdir()) == []
    monkeypatch.setattr(Client, "answers", [True, False, False])
    problem = "beginning with tcp://a: keep these files in a directory that all workers share"
    assert refusal([tmp_path]) == f"--cluster: 2 of 3 workers do not see {tmp_path}, {problem}"
    assert refusal([], [tmp_path / "payloads"]).endswith(problem)
    assert list((tmp_path / "payloads").iterdir()) == []


def test_objects_that_workers_cannot_write_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_objection", lambda _: None)
    place = ObjectPath("s3://bucket/payloads")
    monkeypatch.setattr(Client, "answers", [None, None, None])
    with cluster_workers(ADDRESS, [], [place]):
        pass
    monkeypatch.setattr(Client, "answers", [None, "first", ""])
    assert refusal([], [place]) == (
        "--cluster: 2 of 3 workers cannot write to s3://bucket/payloads, beginning with tcp://a: "
    )


def test_a_worker_says_what_it_sees_and_why_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clusters._sees(str(tmp_path))
    assert not clusters._sees(str(tmp_path / "missing"))
    assert clusters._objection(str(tmp_path / "payloads")) is None

    for error, objection in ((OSError(13, "Permission denied", "x"), "Permission denied"), (OSError("gone"), "gone")):

        def fail(_: object, error: OSError = error) -> None:
            raise error

        monkeypatch.setattr(payload_places, "open_payload_store", fail)
        assert clusters._objection("payloads") == objection


def test_work_ends_as_on_the_worker() -> None:
    with cluster_workers(ADDRESS) as workers:
        answers = [workers.submit(pow, 2, 3) for _ in range(6)]
        done, failed, killed, cancelled, given_up, lost = cast("Client", workers._client).executor.sent
        done.set_result(8)
        failed.set_exception(KeyError("x"))
        killed.set_exception(KilledWorkerError())
        cancelled.set_exception(CancelledError())
        assert answers[0].result(10) == 8
        with pytest.raises(KeyError):
            answers[1].result(10)
        with pytest.raises(WorkerError, match=r"^3 workers died over it, the last one at tcp://worker:1$"):
            answers[2].result(10)
        with pytest.raises(WorkerError, match=LOST):
            answers[3].result(10)
        workers.cancel([cast("Future[bytes]", answers[4])])
        assert given_up.cancelled(), "nobody waits for it"
        assert workers.count == 3
        cast("Client", workers._client).status = "connecting"
        with pytest.raises(WorkerError, match=LOST):
            answers[5].result(10)
        lost.set_result(8)  # too late
        with pytest.raises(WorkerError, match=LOST):
            workers.submit(pow, 2, 3)
        with pytest.raises(WorkerError, match=LOST):
            _ = workers.count


def test_workers_are_counted_again_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster_workers(ADDRESS) as workers:
        client = cast("Client", workers._client)
        assert workers.count == 3
        client.workers = 0
        assert workers.count == 3
        monkeypatch.setattr(clusters, "_COUNT_EVERY_S", 0.0)
        assert workers.count == 1, "those that are gone may come back"


def pipeline(*, calls: bool = True, payloads: bool = False, base_path: str = "payloads", **limits: object) -> Pipeline:
    """Return a pipeline with what workers share."""
    usual = {
        "enabled": True,
        "services": {},
        "default_requests_per_second": None,
        "default_requests_per_minute": None,
        "persistence_path": None,
    }
    settings = SimpleNamespace(
        rate_limit=SimpleNamespace(**(usual | limits)),
        payload_store=SimpleNamespace(base_path=base_path),
        model_fields_set={"payload_store"} if payloads else set(),
    )
    return cast("Pipeline", SimpleNamespace(settings=settings, transforms={0: CALLING} if calls else {}))


@pytest.mark.parametrize(
    "limits",
    [{"services": {"x": 1}}, {"default_requests_per_second": 1}, {"default_requests_per_minute": 1}],
)
def test_limits_of_calls_need_a_file_that_workers_share(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"rate limits need a rate_limit\.persistence_path that all workers share"):
        require_runnable(pipeline(**limits))
    require_runnable(pipeline(**limits, persistence_path="limits.db"))
    require_runnable(pipeline(**limits, enabled=False))
    require_runnable(pipeline(**limits, calls=False))
    require_runnable(pipeline())


def test_workers_write_to_the_payload_store_if_there_is_something_to_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shared_places(pipeline(calls=False)) == []
    assert shared_places(pipeline()) == [tmp_path / "payloads"]
    assert shared_places(pipeline(calls=False, payloads=True)) == [tmp_path / "payloads"]
    assert shared_places(pipeline(base_path="s3://bucket/p")) == [ObjectPath("s3://bucket/p")]


def test_workers_begin_to_import_for_records_that_may_be_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(clusters, "start_importing", begun.append)
    monkeypatch.setattr(clusters, "_LARGE", 3)
    (tmp_path / "small.db").write_bytes(b"12")
    (tmp_path / "large.db").write_bytes(b"123")
    for count, records in ((1, "large.db"), (2, "small.db"), (2, "large.db"), (2, "none.db")):
        prepare_workers(count, f"{count} {records}", f"sqlite:///{tmp_path / records}")
    prepare_workers(2, "a server", "postgresql://h/db")
    assert begun == ["2 large.db", "2 none.db", "a server"]

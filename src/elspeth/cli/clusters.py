"""Shares work among the workers of a Dask cluster."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from elspeth.api.workers import start_importing, start_workers
from elspeth.cli.failures import UsageError
from elspeth.contracts.environment import missing_package
from elspeth.objects.address import ObjectPath, Place, place_of

if TYPE_CHECKING:
    from distributed import Client
    from sqlalchemy import URL

    from elspeth.engine.errors import WorkerError
    from elspeth.engine.pipeline import Pipeline

__all__ = [
    "READING",
    "ClusterWorkers",
    "cluster_workers",
    "database_files",
    "prepare_workers",
    "require_runnable",
    "share_work",
    "shared_places",
]

P = ParamSpec("P")
T = TypeVar("T")

READING = "elspeth.core.landscape.sealing.scope"
"""The module with the work of processes that read an audit database."""

_LARGE = 4 << 20
"""The size of a file, in bytes, from which starting workers is worth it."""

_PATIENCE_S = 10
"""How long to wait for the scheduler, and for its first worker."""

_COUNT_EVERY_S = 2.0
"""How often to ask the scheduler for the number of workers."""

_WATCH_S = 0.2
"""How often to check whether the scheduler is connected."""


class ClusterWorkers(Executor):
    """The workers of a cluster, which may come and go.

    If a worker dies, the scheduler gives its work to another one. If the connection to the scheduler breaks while work
    is sent, Dask may never report its end. So a thread watches the connection, and ends all work when it is lost.
    """

    def __init__(self, client: Client, address: str) -> None:
        self._client = client
        self._address = address
        self._executor = client.get_executor(retries=2)
        self._count, self._counted = 1, -_COUNT_EVERY_S
        self._lock = threading.Lock()
        self._open: set[Future[Any]] = set()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="scheduler", daemon=True).start()

    @property
    def count(self) -> int:
        """Return the number of workers, at most some seconds old.

        Raises WorkerError if the scheduler is lost.
        """
        self._require_scheduler()
        if time.monotonic() - self._counted >= _COUNT_EVERY_S:
            try:
                self._count, self._counted = max(1, len(self._client.ncores())), time.monotonic()
            except Exception as error:
                raise self._loss() from error
        return self._count

    @property
    def readers(self) -> None:
        """Return None.

        The workers may be unable to reach a run's audit database.
        """

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue work for the next free worker.

        If the scheduler is lost or workers die repeatedly, the future raises WorkerError, and this method may, too.
        """
        answer: Future[T] = Future()
        self._require_scheduler()
        with self._lock:
            self._open.add(answer)
        try:
            sent: Future[T] = self._executor.submit(work, *args, **kwargs)
        except Exception as error:
            raise self._loss() from error
        answer.add_done_callback(lambda _: sent.cancel() if answer.cancelled() else None)
        sent.add_done_callback(partial(self._pass_on, answer))
        return answer

    def _pass_on(self, answer: Future[T], sent: Future[T]) -> None:
        """Complete `answer` with the result of `sent`."""
        from distributed import KilledWorker  # noqa: PLC0415  an extra, and start time

        with self._lock:
            if answer not in self._open:
                return
            self._open.remove(answer)
        if not answer.set_running_or_notify_cancel():
            return
        try:
            answer.set_result(sent.result())
        except CancelledError:  # Dask cancels lost work
            answer.set_exception(self._loss())
        except KilledWorker as error:
            count, last = error.allowed_failures + 1, error.last_worker.address
            answer.set_exception(_error(f"{count} workers died over it, the last one at {last}"))
        except BaseException as error:  # noqa: BLE001  like an executor, for any error of the work
            answer.set_exception(error)

    def _watch(self) -> None:
        while not self._closed.wait(_WATCH_S):
            if self._client.status == "running":
                continue
            with self._lock:
                lost, self._open = self._open, set()
            for each in lost:
                if each.set_running_or_notify_cancel():
                    each.set_exception(self._loss())

    def close(self) -> None:
        """Stop watching the connection."""
        self._closed.set()

    def _require_scheduler(self) -> None:
        if self._client.status != "running":  # otherwise the client would wait for the scheduler to return
            raise self._loss()

    def _loss(self) -> WorkerError:
        return _error(f"the Dask scheduler at {self._address} does not answer any more")

    def cancel(self, results: Sequence[Future[bytes]]) -> None:
        """Cancel the work that no worker has begun."""
        for each in results:
            each.cancel()

    def restart(self) -> None:
        """Do nothing, as the cluster replaces its workers."""


@contextmanager
def cluster_workers(address: str, files: Sequence[Path] = (), places: Sequence[Place] = ()) -> Iterator[ClusterWorkers]:
    """Yield the workers of the cluster at an address.

    Raises UsageError if there are none, if they see other files than this process, or if they cannot write to `places`.
    To test that, a file is made in each directory and removed.
    """
    problem = missing_package("distributed", "dask")
    if problem is not None:
        raise UsageError(f"--cluster: {problem}")
    from distributed import Client  # noqa: PLC0415  an extra, and start time

    try:
        client = Client(address, timeout=_PATIENCE_S, set_as_default=False)
    except ValueError as error:
        example = "tcp://scheduler:8786"
        raise UsageError(
            f"--cluster: expected the address of a Dask scheduler, such as {example}, got {address!r}"
        ) from error
    except OSError as error:
        raise UsageError(f"--cluster: no Dask scheduler answers at {address} ({type(error).__name__})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_S)
        except OSError as error:
            raise UsageError(f"--cluster: the Dask scheduler at {address} has no workers") from error
        for each in files:
            _require_place(client, each)
        for place in places:
            if isinstance(place, ObjectPath):
                _require_objects(client, place)
            else:
                _require_directory(client, place)
        workers = ClusterWorkers(client, address)
        try:
            yield workers
        finally:
            workers.close()


def prepare_workers(count: int, module: str, records: str) -> bool:
    """Let worker processes import their module in advance.

    `records` is a path or URL of a database, or the path of a bag. Workers are not started for a small file, which is
    processed before they would be ready. Returns whether the file is known to be large.
    """
    path = Path(records.removeprefix("sqlite:///"))
    is_file = path.is_file()
    is_large = is_file and path.stat().st_size >= _LARGE
    if count > 1 and (is_large or not is_file):
        start_importing(module)
    return is_large


@contextmanager
def share_work(
    count: int, cluster: str | None, module: str, files: Sequence[Path] = (), *, at_once: bool = False
) -> Iterator[Executor | None]:
    """Yield the executor that shares the work of a command.

    It has `count - 1` local processes, because this one works, too; it is None if that leaves none. With a cluster, it
    has the workers at that address, which must see the files. Local processes start `at_once`, or when there is more to
    do than they would take to start.
    """
    if cluster is None:
        with start_workers(count - 1, module, at_once=at_once) as workers:
            yield workers
        return
    with cluster_workers(cluster, files) as remote:
        yield remote


def database_files(url: URL) -> list[Path]:
    """Return the file of a SQLite database, or nothing."""
    from elspeth.core.landscape.database.urls import sqlite_path  # noqa: PLC0415  start time

    return [sqlite_path(url)] if url.get_backend_name() == "sqlite" else []


def require_runnable(pipeline: Pipeline) -> None:
    """Raise UsageError if workers would not share rate limits."""
    limits = pipeline.settings.rate_limit
    rates = (limits.default_requests_per_second, limits.default_requests_per_minute)
    is_limited = limits.enabled and (limits.services or any(rate is not None for rate in rates))
    if _makes_calls(pipeline) and is_limited and limits.persistence_path is None:
        raise UsageError("--cluster: rate limits need a rate_limit.persistence_path that all workers share")


def shared_places(pipeline: Pipeline) -> list[Place]:
    """Return the places that workers of a run write to."""
    if _makes_calls(pipeline) or "payload_store" in pipeline.settings.model_fields_set:
        place = place_of(pipeline.settings.payload_store.base_path)
        return [place if isinstance(place, ObjectPath) else Path.cwd() / place]
    return []


def _makes_calls(pipeline: Pipeline) -> bool:
    from elspeth.contracts.plugins import CallingTransform  # noqa: PLC0415  start time

    return any(isinstance(each, CallingTransform) for each in pipeline.transforms.values())


def _require_directory(client: Client, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    probe = directory / f".elspeth-{secrets.token_hex(8)}"
    probe.touch()
    try:
        _require_place(client, probe)
    finally:
        probe.unlink()


def _require_objects(client: Client, place: ObjectPath) -> None:
    found: dict[str, str | None] = client.run(_objection, str(place))
    problems = sorted((address, problem) for address, problem in found.items() if problem is not None)
    if problems:
        address, problem = problems[0]
        raise UsageError(
            f"--cluster: {len(problems)} of {len(found)} workers cannot write to {place}, beginning with {address}:"
            f" {problem}"
        )


def _objection(text: str) -> str | None:
    """Return why no payload can be stored, or None."""
    from elspeth.core.payload_places import open_payload_store  # noqa: PLC0415  start time of workers

    try:
        open_payload_store(place_of(text))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _sees(path: str) -> bool:
    return Path(path).exists()


def _require_place(client: Client, path: Path) -> None:
    found: dict[str, bool] = client.run(_sees, str(path))
    blind = sorted(address for address, sees in found.items() if not sees)
    if blind:
        raise UsageError(
            f"--cluster: {len(blind)} of {len(found)} workers do not see {path}, beginning with {blind[0]}:"
            " keep these files in a directory that all workers share"
        )


def _error(message: str) -> WorkerError:
    from elspeth.engine.errors import WorkerError  # noqa: PLC0415  start time

    return WorkerError(message)

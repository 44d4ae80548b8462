"""Workers of a run on a Dask cluster."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from elspeth.cli.failures import UsageError
from elspeth.contracts.environment import missing_package
from elspeth.contracts.plugins import CallingTransform

if TYPE_CHECKING:
    from distributed import Client

    from elspeth.engine.pipeline import Pipeline

__all__ = ["ClusterWorkers", "cluster_workers"]

_PATIENCE_S = 10
"""How long to wait for the scheduler, and for its first worker."""


class ClusterWorkers:
    """The workers of a cluster, which may come and go.

    The scheduler lets another worker do again what a dead one did.
    """

    is_remote = True

    def __init__(self, client: Client) -> None:
        self._client = client
        self._executor = client.get_executor(retries=2)

    @property
    def count(self) -> int:
        """Return how many there are now."""
        return max(1, len(self._client.ncores()))

    def submit(self, work: Callable[[bytes, bytes], bytes], context: bytes, job: bytes, /) -> Future[bytes]:
        """Let the next free worker do the work."""
        result: Future[bytes] = self._executor.submit(work, context, job)
        return result

    def cancel(self, results: Sequence[Future[bytes]]) -> None:
        """Cancel what no worker has begun."""
        for each in results:
            each.cancel()

    def restart(self) -> None:
        """Do nothing: the cluster replaces its workers."""


@contextmanager
def cluster_workers(address: str, pipeline: Pipeline) -> Iterator[ClusterWorkers]:
    """Yield the workers of the cluster at an address.

    Raises UsageError if there are none, or they cannot do the work of the pipeline.
    """
    problem = missing_package("distributed", "dask") or _calls_without_shared_limit(pipeline)
    if problem is not None:
        raise UsageError(f"--cluster: {problem}")
    from distributed import Client  # noqa: PLC0415  an extra, and start time

    try:
        client = Client(address, timeout=_PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--cluster: no Dask scheduler answers at {address} ({type(error).__name__})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_S)
        except OSError as error:
            raise UsageError(f"--cluster: the Dask scheduler at {address} has no workers") from error
        _require_reachable_files(client, pipeline)
        yield ClusterWorkers(client)


def _calls_without_shared_limit(pipeline: Pipeline) -> str | None:
    limits = pipeline.settings.rate_limit
    rates = (limits.default_requests_per_second, limits.default_requests_per_minute)
    is_limited = limits.enabled and (limits.services or any(rate is not None for rate in rates))
    if not _makes_calls(pipeline) or not is_limited or limits.persistence_path is not None:
        return None
    return "rate limits need a rate_limit.persistence_path that all workers share"


def _makes_calls(pipeline: Pipeline) -> bool:
    return any(isinstance(each, CallingTransform) for each in pipeline.transforms.values())


def _require_reachable_files(client: Client, pipeline: Pipeline) -> None:
    """Raise UsageError for workers that see other directories.

    A file is made to find out, and removed.
    """
    _require_place(client, Path.cwd())
    if _makes_calls(pipeline) or "payload_store" in pipeline.settings.model_fields_set:
        directory = Path.cwd() / pipeline.settings.payload_store.base_path
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".elspeth-{secrets.token_hex(8)}"
        probe.touch()
        try:
            _require_place(client, probe)
        finally:
            probe.unlink()


def _require_place(client: Client, path: Path) -> None:
    found: dict[str, bool] = client.run(os.path.exists, str(path))
    blind = sorted(address for address, sees in found.items() if not sees)
    if blind:
        raise UsageError(
            f"--cluster: {len(blind)} of {len(found)} workers do not see {path}, beginning with {blind[0]}:"
            " run the pipeline in a directory, and with a payload store, that all of them share"
        )

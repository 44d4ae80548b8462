"""Plans, locks and checks the outputs of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from elspeth.contracts.plugins import StagedOutput
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.recorded import (
    objection_in,
    objection_without_database,
)
from elspeth.core.settings import Settings
from elspeth.core.settings.landscape import LandscapeSettings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.paths import protected_files
from elspeth.core.settings.planned_outputs import PlannedObject, PlannedOutput, planned_outputs
from elspeth.engine.start import Start
from elspeth.objects.address import Place
from elspeth.objects.errors import ObjectStoreError
from elspeth.objects.stores import size_and_hash
from elspeth.outputs.policy import OutputRefusedError
from elspeth.outputs.uploads import Upload, begin_upload
from elspeth.outputs.writing import Output, hold

__all__ = ["RunOutputs"]


class RunOutputs:
    """The files and objects that a run publishes.

    Files are locked for this process. Objects cannot be locked: the request that creates one says what it may replace.
    """

    def __init__(self, planned: Iterable[PlannedOutput | PlannedObject]) -> None:
        self._planned = tuple(planned)
        self._export: Output | Upload | None = None
        self._doubtful: dict[str, PlannedOutput | PlannedObject] = {}

    @property
    def export(self) -> Output | Upload | None:
        """Return the output for the export, or None without one.

        It is available while the outputs are held.
        """
        return self._export

    @classmethod
    def plan(cls, settings: Settings, db: LandscapeDB, values: Mapping[str, str], *, force: bool) -> RunOutputs:
        """Plan the outputs of a run.

        `values` fill the placeholders in their paths.
        """

        def objection(landscape: LandscapeSettings, path: Place) -> str | None:
            return objection_in(db, path) if landscape.enabled else objection_without_database(path)

        parts = Parts.from_settings(settings)
        protected = protected_files(parts, None)
        return cls(planned_outputs(parts, values, protected=protected, objection=objection, force=force))

    @contextmanager
    def hold(self, *, judged: bool) -> Iterator[None]:
        """Lock all outputs for the block.

        Raises OutputRefusedError if one is locked or may not be written. Unless `judged`, existing files at the paths
        of sinks are not refused yet.
        """
        with ExitStack() as stack:
            for each in self._planned:
                if isinstance(each, PlannedObject):
                    self._try(each, judged=judged)
                    continue
                policy = each.policy
                if each.sink is not None and not judged:
                    policy = replace(policy, objection=lambda _: None)
                output = stack.enter_context(hold(each.path, policy))
                if each.sink is None:
                    self._export = output
            yield

    def _try(self, each: PlannedObject, *, judged: bool) -> None:
        """Raise OutputRefusedError if an object may not be written.

        Whether the object of a sink can be written is only tested when the sink is opened.
        """
        if each.sink is not None:
            if judged and (problem := each.problem()):
                raise OutputRefusedError(each.path, problem)
            return
        try:
            self._export = begin_upload(each.path, each.objection)
        except ObjectStoreError as error:
            raise OutputRefusedError(each.path, f"cannot be written: {error.strerror}") from error

    def judge(self, start: Start) -> None:
        """Check the files that a resumed run will replace.

        Raises OutputRefusedError for a file that no run wrote. A file may also be an output without rows that an
        earlier process published before it was killed: that is left to `confirm`, which compares the finished output.
        """
        for each in self._planned:
            progress = None if each.sink is None else start.sinks.get(each.sink)
            if each.sink is None or progress is None or progress.is_published:
                continue
            problem = each.problem()
            if problem is not None and start.is_loaded and progress.rows == 0:
                self._doubtful[each.sink] = each
            elif problem is not None:
                raise OutputRefusedError(each.path, problem)

    def confirm(self, sink: str, output: StagedOutput | None) -> None:
        """Check a doubtful file by comparing it with the output.

        Raises OutputRefusedError if their contents differ.
        """
        each = self._doubtful.get(sink)
        if each is None or (problem := each.problem()) is None:
            return
        if output is not None and size_and_hash(each.path)[1] == output.content_hash:
            return
        raise OutputRefusedError(each.path, problem)

"""The files that a run publishes: held by its process alone, and judged before the first row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from elspeth.contracts.plugins import StagedOutput
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.recorded_outputs import objection_in, objection_without_database
from elspeth.core.settings import Settings
from elspeth.core.settings.model import LandscapeSettings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.paths import PlannedOutput, planned_outputs, protected_files
from elspeth.engine.start import Start
from elspeth.outputs.policy import OutputRefusedError, problem_with
from elspeth.outputs.writing import Output, hold

__all__ = ["RunOutputs"]


@dataclass(slots=True, kw_only=True)
class RunOutputs:
    """What a run publishes under names of files. `export` is the output for its export, once it is held."""

    planned: tuple[PlannedOutput, ...]
    export: Output | None = None
    _doubtful: dict[str, PlannedOutput] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, db: LandscapeDB, values: Mapping[str, str], *, force: bool) -> RunOutputs:
        """Return the outputs of a run, whose placeholders have these values."""

        def objection(landscape: LandscapeSettings, path: Path) -> str | None:
            return objection_in(db, path) if landscape.enabled else objection_without_database(path)

        parts = Parts.of_settings(settings)
        protected = protected_files(parts, None)
        return cls(planned=tuple(planned_outputs(parts, values, protected=protected, objection=objection, force=force)))

    @contextmanager
    def held(self, *, judged: bool) -> Iterator[None]:
        """Have all outputs to oneself while the block lasts; OutputRefusedError if that cannot be.

        If they are not to be judged yet, what is in the place of a sink's file is no reason.
        """
        with ExitStack() as stack:
            for each in self.planned:
                policy = each.policy
                if each.sink is not None and not judged:
                    policy = replace(policy, objection=lambda _: None)
                output = stack.enter_context(hold(each.path, policy))
                if each.sink is None:
                    self.export = output
            yield

    def judge(self, start: Start) -> None:
        """Judge what is in the place of the files that a resumed run has still to publish.

        OutputRefusedError for a file that no run wrote. Where the run may have published a file without rows and was
        killed before it could say so, only the finished output can tell: `confirm` decides.
        """
        for each in self.planned:
            progress = None if each.sink is None else start.sinks.get(each.sink)
            if each.sink is None or progress is None or progress.is_published:
                continue
            problem = problem_with(each.path, each.policy)
            if problem is not None and start.is_loaded and progress.rows == 0:
                self._doubtful[each.sink] = each
            elif problem is not None:
                raise OutputRefusedError(each.path, problem)

    def confirm(self, sink: str, output: StagedOutput | None) -> None:
        """Raise OutputRefusedError if the finished output would replace a file that is not the same, and no output."""
        each = self._doubtful.get(sink)
        if each is None or (problem := problem_with(each.path, each.policy)) is None:
            return
        with each.path.open("rb") as file:
            if output is not None and hashlib.file_digest(file, "sha256").hexdigest() == output.content_hash:
                return
        raise OutputRefusedError(each.path, problem)

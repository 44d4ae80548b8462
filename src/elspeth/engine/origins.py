"""Records the origins of a run: process and inputs."""

from __future__ import annotations

import os
import platform
import pwd
import socket
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from elspeth import __version__
from elspeth.contracts.audit import RunProcess, SourceInput
from elspeth.contracts.errors import format_count
from elspeth.contracts.plugins import ReadInput
from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.recording.base import make_storable, new_id
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.secrets import Mask, mask_secrets, mask_text
from elspeth.core.settings import Settings
from elspeth.core.settings.wiring import Place
from elspeth.engine.errors import changed_source_error
from elspeth.engine.pipeline import Pipeline
from elspeth.plugins.manager import plugin_packages

__all__ = ["InputRecorder", "describe_process", "repository_state"]

_GIT_SECONDS = 10.0
"""How long a Git command may take, in seconds. The state of a repository that takes longer is not recorded."""

_COMMIT = "# branch.oid "
_MAX_NAME = 256  # the most characters of a name in the audit trail


# -- processes -------------------------------------------------------------------------------------------------------


def describe_process(
    settings: Settings, run_id: str, mask: Mask, *, settings_file: Path | None, started_at: datetime
) -> RunProcess:
    """Describe this process, which begins or resumes a run."""
    commit, is_dirty = (None, None) if settings_file is None else repository_state(settings_file)
    is_named = settings.landscape.identity
    system = os.uname()
    return RunProcess(
        run_id=run_id,
        process_id=new_id(),
        attempt=0,
        started_at=started_at,
        user_name=_name(_user()) if is_named else None,
        host_name=_name(socket.gethostname()) if is_named else None,
        elspeth_version=__version__,
        python_version=f"{platform.python_implementation()} {platform.python_version()}",
        operating_system=_name(f"{system.sysname} {system.release} {system.machine}"),
        packages_json=canonical_json(plugin_packages()),
        repository_commit=commit,
        repository_is_dirty=is_dirty,
        labels_json=canonical_json(mask_secrets(settings.labels, mask)) if settings.labels else None,
    )


def repository_state(file: Path) -> tuple[str | None, bool | None]:
    """Return the commit of a file's Git repository.

    The second value says whether any file differs from the commit, or this file is not part of it. Both are None if
    there is no repository or no commit, or if Git cannot read it.
    """
    file = file.resolve()
    if not any((directory / ".git").exists() for directory in file.parents):
        return None, None
    status = _git(file.parent, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None or status.returncode:
        return None, None
    lines = status.stdout.splitlines()
    commit = next((line.removeprefix(_COMMIT) for line in lines if line.startswith(_COMMIT)), "")
    if not commit or not commit.isalnum():  # "(initial)" before the first commit
        return None, None
    known = _git(file.parent, "ls-files", "--error-unmatch", "--", file.name)
    if known is None:
        return None, None
    return commit, known.returncode != 0 or not all(line.startswith("#") for line in lines)


def _git(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Run a command of Git, if it is installed.

    The command only reads. Neither the environment nor the repository's configuration can make it read elsewhere or
    execute a program.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    try:
        return subprocess.run(  # noqa: S603  a fixed command
            command,
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _user() -> str:
    """Return the account that owns this process."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _name(text: str) -> str:
    return make_storable(text)[:_MAX_NAME]


# -- inputs ----------------------------------------------------------------------------------------------------------


class InputRecorder:
    """Records the inputs of a run, source by source.

    An input is recorded with its last row. So when the run is resumed, recorded inputs can be compared before the first
    new row.
    """

    def __init__(self, recorder: LandscapeRecorder, pipeline: Pipeline, run_id: str, mask: Mask) -> None:
        self._recorder = recorder
        self._pipeline = pipeline
        self._run_id = run_id
        self._mask = mask
        self._place: Place | None = None
        self._recorded: Sequence[SourceInput] = ()
        self._done = 0

    def begin(self, place: Place) -> None:
        """Begin with a source, and read its recorded inputs."""
        self._place, self._done = place, 0
        self._recorded = self._recorder.get_source_inputs(self._run_id, self._pipeline.nodes[place].node_id)

    def compare(self) -> None:
        """Compare the inputs with those that an earlier process read.

        Raises ResumeError if they differ.
        """
        if self._place is None:
            return
        for recorded, read in zip(self._recorded[self._done :], self._read()[self._done :], strict=False):
            if not read.is_complete:
                return
            if (how := _difference(recorded, read)) is not None:
                raise changed_source_error(self._pipeline.source_name(self._place), self._run_id, how)
            self._done += 1

    @property
    def complete(self) -> int:
        """Count the inputs that have been read to their ends."""
        return sum(each.is_complete for each in self._read())

    def record(self, count: int | None = None) -> None:
        """Record the first inputs, whose rows are all recorded.

        At the end of a source all inputs are recorded, even those that were not read to their end.
        """
        for read in self._read()[self._done : count]:
            if self._place is not None:
                self._record(self._place, read)

    def record_rest(self) -> None:
        """Record the inputs of an unfinished source.

        Inputs that were recorded before are included, because their transaction may have been rolled back.
        """
        if self._place is not None:
            self.begin(self._place)
            self._done = len(self._recorded)
            self.record()

    def _read(self) -> Sequence[ReadInput]:
        return () if self._place is None else self._pipeline.sources[self._place].inputs()

    def _record(self, place: Place, read: ReadInput) -> None:
        self._recorder.record_source_input(
            self._run_id,
            self._pipeline.nodes[place].node_id,
            self._done,
            read.input_type,
            path_or_uri=read.path_or_uri,
            query_text=None if read.query_text is None else mask_text(read.query_text, self._mask),
            content_hash=read.content_hash,
            size_bytes=read.size_bytes,
            object_version=read.object_version,
            row_count=read.rows,
        )
        self._done += 1


def _difference(recorded: SourceInput, read: ReadInput) -> str | None:
    """Return how an input differs from the record, or None."""
    name = read.path_or_uri or read.input_type
    if recorded.path_or_uri != read.path_or_uri:
        return f"input {recorded.ordinal} is {name}, recorded is {recorded.path_or_uri}"
    if recorded.content_hash != read.content_hash:
        return f"{name} has the SHA-256 {read.content_hash}, recorded is {recorded.content_hash}"
    if recorded.row_count != read.rows:
        return f"{name} has {format_count(read.rows, 'row')}, recorded are {recorded.row_count:,}"
    return None

"""Output that is compressed when it is complete."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO, cast

from elspeth.contracts.plugins import JsonObject, PluginError, StagedOutput
from elspeth.outputs.compression import Compression, compressing
from elspeth.plugins.staging import StagedFile

__all__ = ["CompressedFile"]


class CompressedFile:
    """A staged file that is compressed at its end.

    Until then its content waits uncompressed in a staging file of its own. So the compressed bytes do not depend on
    when the content was synced, or on whether the run was resumed. The methods are those of `StagedFile`.
    """

    def __init__(self, path: Path, compression: Compression) -> None:
        self._compression = compression
        self._file = StagedFile(path)
        self._plain = StagedFile(Path(f"{path}.rows"))

    def open(self, staging_name: str) -> None:
        """Create the staging files."""
        self._file.open(staging_name)
        self._plain.open(staging_name)

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on after the first bytes of the content."""
        self._file.open(staging_name)
        self._plain.reopen(staging_name, position)

    def position(self) -> JsonObject:
        """Return size and SHA-256 of the content so far."""
        return self._plain.position()

    def write(self, content: bytes) -> None:
        """Append bytes of content."""
        self._plain.write(content)

    def sync(self) -> None:
        """Return when everything written is on disk."""
        self._plain.sync()

    def finish(self, artifact_type: str) -> StagedOutput:
        """Compress the content, and return the compressed file's hash."""
        self._plain.finish(artifact_type)
        try:
            with (
                self._plain.staging.open("rb") as plain,
                compressing(cast("BinaryIO", self._file), self._compression) as compressed,
            ):
                copyfileobj(plain, compressed)
        except OSError as error:
            raise PluginError(f"{self._plain.staging} cannot be read: {error.strerror}") from error
        return self._file.finish(artifact_type)

    def publish(self) -> None:
        """Rename the file to its final name; remove the content."""
        self._file.publish()
        self._plain.discard()

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Return whether the file has its final name."""
        is_in_place = self._file.confirm(staging_name, output)
        if is_in_place:
            self._plain.remove(staging_name)
        return is_in_place

    def close(self) -> str | None:
        """Close the staging files; return the path of the content."""
        self._file.discard()
        return self._plain.close()

    def discard(self) -> None:
        """Remove the staging files."""
        self._file.discard()
        self._plain.discard()

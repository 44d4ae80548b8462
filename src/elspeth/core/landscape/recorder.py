"""Public path of the predecessor: see `recording.recorder`."""

from elspeth.core.landscape.recording.recorder import LandscapeRecorder

__all__ = ["LandscapeRecorder"]

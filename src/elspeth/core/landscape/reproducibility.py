"""Public path of the predecessor: see `recording.reproducibility`."""

from elspeth.core.landscape.recording.reproducibility import (
    ReproducibilityGrade,
    compute_grade,
    grade_of,
    set_run_grade,
    update_grade_after_purge,
)

__all__ = ["ReproducibilityGrade", "compute_grade", "grade_of", "set_run_grade", "update_grade_after_purge"]

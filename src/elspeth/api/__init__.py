"""The Python API: running pipelines, and reading audit trails.

Programs import it as `elspeth`, which loads its parts when they are first used.
"""

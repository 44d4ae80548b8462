"""The Python API: run pipelines, and read audit trails.

Programs import `elspeth`, which loads the parts of this package when they are first used.
"""

"""Running a pipeline, and recording everything that happens."""

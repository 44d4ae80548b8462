"""Runs a pipeline, and records everything that happens."""

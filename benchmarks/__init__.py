"""Measurements: ratios of times from the same run, never tests."""

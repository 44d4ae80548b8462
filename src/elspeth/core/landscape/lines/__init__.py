"""Reads the records of runs as lines of exports."""

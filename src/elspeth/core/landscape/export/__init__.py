"""Exports as files: their forms, writing and reading them, and what makes them checkable."""

"""Calls to external systems: made, replayed or compared."""

"""Exports runs, and imports them, in every form."""

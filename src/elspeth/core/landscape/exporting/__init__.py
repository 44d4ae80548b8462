"""Exports and imports in every form."""

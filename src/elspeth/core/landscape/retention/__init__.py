"""Moves runs out of the database into bags."""

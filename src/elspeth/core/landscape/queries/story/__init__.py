"""Reads the story of a row, from database or export."""

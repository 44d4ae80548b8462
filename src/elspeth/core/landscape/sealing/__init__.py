"""Seals of finished runs: made and checked."""

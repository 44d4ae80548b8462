"""Databases exported as found, known to this program or not."""

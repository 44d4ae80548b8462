"""Runs that leave the database for bags."""

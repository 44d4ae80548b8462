"""Audit trails as tools of assistants."""

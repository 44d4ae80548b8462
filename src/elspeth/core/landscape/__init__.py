"""The Landscape: the audit database, what writes it, and what reads it."""

"""Writing evidence."""

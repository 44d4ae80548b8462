"""Lets assistants query audit trails."""

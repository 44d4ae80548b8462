"""The lines of an export, as the database itself writes them."""

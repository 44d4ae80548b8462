"""Reading and verifying evidence."""

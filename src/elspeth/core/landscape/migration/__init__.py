"""Which epoch a database is of, and how an older one becomes one of today."""

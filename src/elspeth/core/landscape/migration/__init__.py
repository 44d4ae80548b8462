"""Migration of a database from an older epoch to today's."""

"""The story of a row, told from the database or from an export alone."""

"""The story of a row, from database or export."""

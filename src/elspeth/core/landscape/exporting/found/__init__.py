"""Exports databases as found, whatever program wrote them."""

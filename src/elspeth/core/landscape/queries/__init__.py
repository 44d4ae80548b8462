"""Questions to audit trails; the laws of accounting as queries."""

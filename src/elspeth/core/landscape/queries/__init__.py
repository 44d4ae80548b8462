"""Queries audit trails, and checks the laws of accounting."""

"""Generates the audit schema's tables, contracts, mappings and documents from one LinkML schema."""

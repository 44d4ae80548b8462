"""Generate tables, contracts, mappings and documents from the LinkML schema."""

"""Let assistants query audit trails."""

"""The recorder, with one module per concept."""

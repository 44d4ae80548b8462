"""Records runs, with one module per concept."""

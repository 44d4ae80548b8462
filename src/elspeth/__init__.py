"""A pipeline engine whose every decision can be proved later."""

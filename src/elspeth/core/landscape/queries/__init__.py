"""Questions to the trails of runs."""

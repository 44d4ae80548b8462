"""Reports of runs, each one HTML page."""

"""Makes, replays and compares calls to external systems."""

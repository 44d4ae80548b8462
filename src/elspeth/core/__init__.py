"""What the engine stands on: canonical JSON, payloads, settings, the Landscape."""

"""Canonical JSON, payloads, secrets, settings, and the Landscape."""

"""Calls language models behind an OpenAI-compatible endpoint."""

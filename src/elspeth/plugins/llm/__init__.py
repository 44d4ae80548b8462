"""Language models behind an OpenAI-compatible endpoint: the prompt, the call, the answer."""

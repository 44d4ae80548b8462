"""The transforms that come with elspeth, except `llm`."""

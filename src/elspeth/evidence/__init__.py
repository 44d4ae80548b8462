"""Evidence that a stranger can check.

It shares no code with the recorder.
"""

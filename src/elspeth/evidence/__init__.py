"""Write, verify and witness evidence that strangers can check.

Nothing here shares code with the recorder.
"""

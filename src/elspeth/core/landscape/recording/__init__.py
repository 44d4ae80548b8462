"""The calls of the recorder, one module per concern; `LandscapeRecorder` joins them."""

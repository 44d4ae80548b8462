"""The commands, with one module per subject."""

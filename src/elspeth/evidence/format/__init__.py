"""The formats of evidence, which writer and verifier share."""

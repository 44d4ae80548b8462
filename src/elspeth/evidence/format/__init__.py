"""The format of evidence, shared by writer and verifier."""

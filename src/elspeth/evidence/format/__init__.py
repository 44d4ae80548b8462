"""The format of evidence: what the writer and the verifier share on purpose."""

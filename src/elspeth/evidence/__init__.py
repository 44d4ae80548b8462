"""Evidence that a stranger can check: bags, signatures, proofs, and the verifier. Shares no code with the recorder."""

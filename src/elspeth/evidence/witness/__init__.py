"""Witnesses, which cosign the checkpoints of logs (c2sp.org/tlog-witness)."""

"""The laws of accounting, proved from a bag's records."""

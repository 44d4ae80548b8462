"""The laws of accounting, proved from the records of a bag."""

"""Lineage events of runs, in the form of OpenLineage."""

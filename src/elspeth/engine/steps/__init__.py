"""What happens at the nodes of a pipeline, one module per kind of node."""

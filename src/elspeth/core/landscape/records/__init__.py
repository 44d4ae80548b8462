"""Records: converted between rows, contracts and exports, and stored."""

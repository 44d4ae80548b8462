"""Records: mapped between rows, contracts and exports, and stored."""

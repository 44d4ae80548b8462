"""Converts records between rows, contracts and exports, and stores them."""

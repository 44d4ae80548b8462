"""Seals finished runs, and checks their seals."""

"""A pipeline engine whose every decision can be proved later."""

__all__ = ["__version__"]

__version__ = "0.1.0"

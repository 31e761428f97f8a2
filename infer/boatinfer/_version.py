"""The version of the package and of its metadata."""

__version__ = "0.2.0"

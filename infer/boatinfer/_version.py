"""The version, for the package and its metadata."""

__version__ = "0.2.0"

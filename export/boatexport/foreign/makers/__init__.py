"""Reads what the makers of a model wrote about its preprocessing and classes."""

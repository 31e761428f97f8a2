"""Tells people and services how a night went: ``[notify]`` of ``night.toml``."""

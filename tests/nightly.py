"""Files that say what a night is, for tests."""

from __future__ import annotations

from pathlib import Path

from boatinfer.night.config import Night, read_night

#: Nights whose folders do nothing.
FAKE = """
[[folder]]
name = "first"
dir = "first"
[[folder]]
name = "second"
dir = "second"
"""


def write(folder: Path, text: str, name: str = "night.toml") -> Path:
    """Writes a file of nights."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def parsed(folder: Path, text: str) -> Night:
    """The night that a file says."""
    return read_night(write(folder, text))

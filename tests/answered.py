"""Answers of a review that no review wrote; for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xxhash

__all__ = ["HEADER", "content_of", "labels_file", "row"]

HEADER = "path,content,label,by,when,shown_label,model,reason"


def content_of(path: Path) -> str:
    """What labels.csv calls the content of an image."""
    return xxhash.xxh3_128_hexdigest(path.read_bytes())


def row(path: Path, label: str, reason: str = "unsure", name: str | None = None) -> str:
    """A line about an image; by default one that lies in the scanned folder itself."""
    what = f"{name or path.name},{content_of(path)},{label}"
    return f"{what},me,2024-01-01T00:00:00Z,blue,abc,{reason}"


def labels_file(folder: Path, rows: Sequence[str], end: str = "\n") -> Path:
    """Writes a labels.csv."""
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("\n".join([HEADER, *rows]) + end)
    return folder / "labels.csv"

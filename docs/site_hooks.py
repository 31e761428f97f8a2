"""Brings files from outside of docs/ into the site: the README as its start, and others by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

#: Pages of the site, by the file that each is made of; links to them lead to the pages.
PAGES = {
    "README.md": "index.md",
    **{f"{name}.md": f"{name}.md" for name in ("CONTRIBUTING", "SECURITY", "CHANGELOG")},
}
#: Files that pages link to, which the site has as they are.
OTHERS = ["LICENSE", *(f"deploy/{file.name}" for file in sorted((ROOT / "deploy").iterdir()))]


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Adds what lies outside of docs/."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=re.sub(r"\]\(docs/", "](", text)))
    for name in OTHERS:
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Has links out of docs/ lead to what `on_files` has added."""
    return markdown.replace("](../README.md", "](index.md").replace("](../", "](")

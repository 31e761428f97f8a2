"""What installs a missing extra, for who has a wheel and for who has the sources."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from boatinfer.errors import install_hint


@pytest.mark.parametrize(
    ("origin", "there", "target"),
    [
        ({"url": "file://{}", "dir_info": {}}, True, "{}[raw]"),
        ({"url": "file://{}", "dir_info": {"editable": True}}, True, "{}[raw]"),
        ({"url": "file://{}", "dir_info": {}}, False, "boatinfer[raw]"),
        ({"url": "file://{}/boatinfer.whl", "archive_info": {}}, True, "boatinfer[raw]"),
        (None, True, "boatinfer[raw]"),
    ],
)
def test_the_sources_are_named_if_it_was_installed_from_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    origin: dict[str, object] | None,
    there: bool,
    target: str,
) -> None:
    sources = tmp_path / "my sources"
    sources.mkdir()
    if there:
        (sources / "pyproject.toml").touch()
    place = sources.as_uri().removeprefix("file://")
    text = None if origin is None else json.dumps(origin).replace("{}", place, 1)
    if origin and "dir_info" in origin:
        text = json.dumps(origin | {"url": sources.as_uri()})
    package = SimpleNamespace(read_text=lambda name: text if name == "direct_url.json" else None)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: package)
    assert install_hint("raw") == f"run pip install '{target.replace('{}', str(sources))}'"


def test_without_metadata_the_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert install_hint("train,export") == "run pip install 'boatinfer[train,export]'"

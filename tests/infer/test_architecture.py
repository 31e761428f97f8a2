"""docs/architecture.md names what there is: modules, functions, layers, terms."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
FOLDERS = {"boatinfer": ROOT / "infer", "boattrain": ROOT / "train", "boatexport": ROOT / "export"}
NAMES = sorted(set(re.findall(r"`(boat(?:infer|train|export)(?:\.\w+)*)`", TEXT)))
GLOSSARY = re.findall(r"^\| ([^|]+) \| `([^`]+)` \| ", TEXT.partition("## Glossary")[2], re.M)


def _module(name: str) -> Path | None:
    """The file of a module or package; None if there is none."""
    path = FOLDERS[name.split(".", maxsplit=1)[0]].joinpath(*name.split("."))
    files = [path.with_suffix(".py"), path / "__init__.py"]
    return next((file for file in files if file.is_file()), None)


@functools.cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def _bound(node: ast.stmt) -> list[tuple[str, ast.stmt]]:
    """The names that a statement binds."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [(node.name, node)]
    if isinstance(node, ast.Assign):
        return [(target.id, node) for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [(node.target.id, node)]
    return []


def _exists(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module or class of it defines."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        file = _module(".".join(parts[:end]))
        if file is None:
            continue
        node: ast.Module | ast.stmt = _tree(file)
        for part in parts[end:]:
            body = node.body if isinstance(node, ast.Module | ast.ClassDef) else []
            inside = dict(pair for statement in body for pair in _bound(statement))
            if part not in inside:
                return False
            node = inside[part]
        return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name: str) -> None:
    assert _exists(name)


def test_what_is_not_there_is_noticed() -> None:
    assert not _exists("boatinfer.nowhere")
    assert not _exists("boatinfer.images.jpeg.nothing")
    assert not _exists("boatinfer.results.store.parts.Parts.nothing")


def test_the_layers_are_those_that_are_checked() -> None:
    tree = _tree(ROOT / "tests" / "infer" / "test_floors.py")
    (floors,) = [
        node for statement in tree.body for name, node in _bound(statement) if name == "FLOORS"
    ]
    assert isinstance(floors, ast.Assign)
    layers = re.findall(r"^\| \d+ \| ([^|]*) \|", TEXT, re.M)
    assert [re.findall(r"`([^`]+)`", layer) for layer in layers] == ast.literal_eval(floors.value)


def test_the_glossary_has_ten_to_twenty_five_terms_of_the_code() -> None:
    assert 10 <= len(GLOSSARY) <= 25
    rows = TEXT.partition("## Glossary")[2].strip().splitlines()[2:]
    assert len(GLOSSARY) == len(rows) == len({term for term, _ in GLOSSARY})
    assert [name for _, name in GLOSSARY if not _exists(name)] == []


@pytest.mark.parametrize(
    "file", sorted(set(re.findall(r"`((?:tests|infer|train)/[\w/]+\.py)`", TEXT)))
)
def test_every_file_exists(file: str) -> None:
    assert (ROOT / file).is_file()


def test_every_folder_of_the_tool_is_in_the_layers() -> None:
    folders = {path.parent.name for path in (ROOT / "infer" / "boatinfer").glob("*/__init__.py")}
    named = {name.split(".")[1] for name in NAMES if name.startswith("boatinfer.")}
    assert folders <= named

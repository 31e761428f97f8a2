"""The architecture of docs/architecture.md: no import runs upwards, and none in a circle."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"boatinfer": ROOT / "infer", "boattrain": ROOT / "train", "boatexport": ROOT / "export"}

#: Packages and modules, from the ground up. What is named nowhere is a module of `boatinfer`
#: itself, and belongs to the ground floor.
FLOORS = [
    ["boatinfer"],
    ["boatinfer.storage"],
    ["boatinfer.isolation"],
    ["boatinfer.images"],
    ["boatinfer.models", "boatinfer.dataset"],
    ["boatinfer.options"],
    ["boatinfer.results"],
    ["boatinfer.analysis"],
    ["boatinfer.pages", "boatinfer.svm", "boatinfer.formats"],
    ["boatinfer.review"],
    ["boatinfer.pipeline"],
    ["boatinfer.night"],
    ["boatinfer.doctor"],
    ["boatinfer.cli", "boatinfer.__init__", "boatinfer.__main__"],
    ["boattrain", "boatexport"],
]


def _modules() -> dict[str, Path]:
    """All modules by their dotted names; of a package that is its ``__init__``."""
    return {
        ".".join(file.relative_to(folder).with_suffix("").parts): file
        for name, folder in SOURCES.items()
        for file in (folder / name).rglob("*.py")
    }


MODULES = _modules()


def _module(name: str) -> str | None:
    """The module that a dotted name means; None if it is none of ours."""
    return next((of for of in (name, f"{name}.__init__") if of in MODULES), None)


def _imports(tree: ast.AST) -> set[str]:
    """The modules of ours that a piece of source imports, now or when it is called."""
    names: list[str | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [_module(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = _module(node.module)
            names += [_module(f"{node.module}.{alias.name}") or whole for alias in node.names]
    return {name for name in names if name is not None}


def _floor(module: str) -> int:
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        for number, floor in enumerate(FLOORS):
            if ".".join(parts[:end]) in floor:
                return number
    raise AssertionError(f"{module} is on no floor")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_import_runs_upwards(module: str) -> None:
    imported = _imports(ast.parse(MODULES[module].read_text()))
    assert {name for name in imported if _floor(name) > _floor(module)} == set()


def test_no_import_runs_in_a_circle() -> None:
    graph = {}
    for name, file in MODULES.items():
        tree = ast.parse(file.read_text())
        body = [node for node in tree.body if not _is_for_types(node)]
        graph[name] = _imports(ast.Module(body, [])) - {name}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def _is_for_types(node: ast.stmt) -> bool:
    """Whether a statement is there for the type checker alone."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"

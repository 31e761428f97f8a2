"""The papers of the project agree with each other: version, workflows, constraints, links."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import boatinfer

ROOT = Path(__file__).parents[2]
FORGE = ROOT / ".github"
VERSION = boatinfer.__version__


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_version_is_the_same_everywhere() -> None:
    assert _yaml(ROOT / "CITATION.cff")["version"] == VERSION
    first, second, *_ = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert (first, second) == ("Unreleased", VERSION)
    for file in (ROOT / "deploy").glob("*.yaml"):
        tags = re.findall(r"image: \S+:(\S+)", file.read_text())
        assert set(tags) <= {VERSION}


@pytest.mark.parametrize("file", sorted(FORGE.rglob("*.yml")), ids=lambda file: file.name)
def test_workflows_and_templates_parse(file: Path) -> None:
    assert isinstance(_yaml(file), dict)


def test_ci_runs_every_environment_of_tox_on_linux() -> None:
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    known = {name.removeprefix("testenv:") for name in tox.sections() if ":" in name}
    matrix = _yaml(FORGE / "workflows" / "ci.yml")["jobs"]["tox"]["strategy"]["matrix"]["include"]
    assert {run["env"] for run in matrix if run["os"] == "ubuntu-latest"} == known
    light = {(run["os"], run["python"]) for run in matrix if run["env"] == "infer"}
    pythons = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    systems = ("ubuntu-latest", "windows-latest", "macos-latest")
    assert light == {(system, python) for system in systems for python in pythons}


def test_constraints_name_every_library_that_is_asked_for() -> None:
    lines = (FORGE / "constraints.txt").read_text().splitlines()[1:]
    pinned = {re.fullmatch(r"([a-z0-9-]+)==[\w.]+", line)[1] for line in lines}  # type: ignore[index]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"].values()
    asked = [
        *project["project"]["dependencies"],
        *(one for extra in extras.values() for one in extra),
        *(one for group in groups for one in group if isinstance(one, str)),
    ]
    names = {re.match(r"[\w.-]+", one)[0].lower().replace("_", "-") for one in asked}  # type: ignore[index]
    assert names - {"boatinfer"} <= pinned


@pytest.mark.parametrize("name", ["README", "CONTRIBUTING", "SECURITY", "CHANGELOG"])
def test_links_of_the_papers_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^):]+)\)", (ROOT / f"{name}.md").read_text()):
        path, _, anchor = link.partition("#")
        target = ROOT / (path or f"{name}.md")
        assert target.exists()
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M) if anchor else []
        slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in slugs


def test_names_in_contributing_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"`((?:tests|infer|train|export|deploy|docs|\.github)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path

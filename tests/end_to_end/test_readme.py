"""The README, word by word: every command in it, in its order, in a new environment.

Then the commands of the pages of docs/ that go on where it ends, in the same folder.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from boatinfer.dataset.labelled_images import find_images
from boatinfer.errors import Failure
from boatinfer.file_types import IMAGE_EXTENSIONS
from server import Site, serving
from support import COUNTS, rows, write_data

#: One process follows the README, for all tests.
pytestmark = pytest.mark.xdist_group("readme")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = ["data", "results", "similar", "svm", "precision", "scale", "api"]


def _blocks(text: str) -> list[tuple[str, str]]:
    """The blocks that are run, each with its language."""
    return re.findall(r"^```(console|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


SETUP, TESTS, ACTIVATE, *USE = _blocks(README)
MORE = [block for page in PAGES for block in _blocks((ROOT / "docs" / f"{page}.md").read_text())]

#: The only address that a command asks for more than packages.
(ARCHIVE,) = {
    address for _, block in USE + MORE for address in re.findall(r"data download (\S+)", block)
}


class Followed(NamedTuple):
    """A copy of the project in which somebody followed the README."""

    folder: Path
    printed: dict[str, str]
    tensorflow_after_setup: bool


@pytest.fixture(scope="session")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    """Runs all blocks but the tests' own, on the real boats where MARDCT names them."""
    folder = tmp_path_factory.mktemp("readme") / "boatinfer"
    _copy_project(ROOT, folder)
    _bring_images(folder)
    printed = {SETUP[1]: _bash(folder, SETUP[1])}
    found = subprocess.run(
        [folder / ".venv/bin/python", "-c", "import tensorflow"], capture_output=True, check=False
    )
    with serving(Site(_archive(folder))) as site:
        for language, block in USE + MORE:
            script = block if language == "console" else f"python - <<'END'\n{block}END\n"
            printed[block] = _bash(folder, ACTIVATE[1] + script.replace(ARCHIVE, site.url))
    return Followed(folder, printed, found.returncode == 0)


def _copy_project(root: Path, folder: Path) -> None:
    """Copies what git knows, and nothing that following the README has left there.

    Where there is no git, what .gitignore names is left out.
    """
    command = ["git", "-C", str(root), "ls-files", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listed = b""
    names = os.fsdecode(listed).split("\0")
    if "README.md" not in names:  # no repository, or one around this folder
        shutil.copytree(root, folder, ignore=lambda at, found: _ignored(root, Path(at), found))
        return
    for name in filter(None, names):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)


def _ignored(root: Path, at: Path, names: list[str]) -> list[str]:
    """Names in a folder that .gitignore says are not of the project, and .git itself."""
    lines = [".git", *(root / ".gitignore").read_text().splitlines()]
    lines = [line.rstrip("/") for line in lines if line and not line.startswith("#")]
    patterns = [line.lstrip("/") for line in lines if at == root or not line.startswith("/")]
    return [name for name in names if any(fnmatch.fnmatch(name, of) for of in patterns)]


def _bring_images(folder: Path) -> None:
    real = os.environ.get("MARDCT")
    if real:
        (folder / "boats").symlink_to(real)
    else:
        write_data(folder / "boats")
    chosen = sorted((folder / "boats" / "valid").rglob("*.jpg"))[:: 10 if real else 1]
    for number, image in enumerate(chosen):
        shutil.copy(image, folder / "photo.jpg")
        for place in ("photos", "by-class"):
            (folder / place / image.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(image, folder / place / image.parent.name / f"{number}.jpg")


def _archive(folder: Path) -> bytes:
    """A zip of a small folder of labelled images, all in one folder."""
    data = write_data(folder.parent / "archive" / "data")
    packed = shutil.make_archive(str(folder.parent / "archive"), "zip", data.parent)
    return Path(packed).read_bytes()


def _bash(folder: Path, script: str) -> str:
    """Runs a block as a user would type it: no variables of the test run, no input."""
    kept = {key: os.environ[key] for key in os.environ if key.startswith(("PIP_", "SSL_", "HOME"))}
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if ".tox" not in p)
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=folder,
        env=kept | {"PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def _after(followed: Followed, command: str) -> str:
    return next(out for block, out in followed.printed.items() if command in block)


def _summary(folder: Path) -> dict[str, object]:
    summary: dict[str, object] = json.loads((folder / "run.json").read_text())
    return summary


#: What somebody who follows the README has in the clone.
LEFT = [
    *("boats/train/red/0.jpg", "boats-cnn.keras", "photos/0.jpg", "sweep/a.keras", "batch.png"),
    *("boatinfer-out/samples/run.json", "valid-out/run.json", ".venv/bin/python"),
]


@pytest.mark.parametrize("git", [True, False])
def test_what_following_the_readme_leaves_in_the_clone_is_not_copied(
    tmp_path: Path, git: bool
) -> None:
    kept = ["README.md", ".gitignore", "infer/boats.onnx", "photos.py"]
    root = tmp_path / "clone"
    for name in [*kept, *LEFT]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    shutil.copy(ROOT / ".gitignore", root)
    if git:
        for command in (["init", "-q"], ["add", *kept]):
            subprocess.run(["git", "-C", str(root), *command], check=True)
    _copy_project(root, tmp_path / "copy")
    copied = (path for path in (tmp_path / "copy").rglob("*") if path.is_file())
    assert {path.relative_to(tmp_path / "copy").as_posix() for path in copied} == set(kept)


def test_the_tests_command_is_the_one_that_ci_runs() -> None:
    (command,) = re.findall(r"^python3 .*tox$", README, re.MULTILINE)
    assert ("console", f"{command}\n") == TESTS
    assert "grep '^python3 .*tox$' README.md" in (ROOT / ".ci" / "run").read_text()


def test_setup_classifies_the_samples_without_tensorflow(followed: Followed) -> None:
    assert not followed.tensorflow_after_setup
    out = followed.folder / "boatinfer-out" / "samples"
    assert {"predictions.csv", "failures.csv", "run.json", "report.html"} <= {
        path.name for path in out.iterdir()
    }
    summary = _summary(out)
    assert (summary["complete"], summary["exit_code"], summary["classified"]) == (True, 0, 12)


def test_setup_prints_what_the_readme_shows(followed: Followed) -> None:
    (shown,) = re.findall(r"^It ends with\n\n```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    printed = followed.printed[SETUP[1]]
    first, *others = shown.splitlines()
    assert first.split(" in ")[0] in printed
    assert "\n".join(others) in printed


def test_labelled_images_are_checked_drawn_split_and_brought(followed: Followed) -> None:
    assert "nothing here would break a training" in _after(followed, "data check")
    with Image.open(followed.folder / "batch.png") as picture:
        assert picture.format == "PNG"
    split = sorted(path.name for path in (followed.folder / "boats-split").rglob("*.jpg"))
    assert split == sorted(path.name for path in (followed.folder / "by-class").rglob("*.jpg"))
    brought = find_images(followed.folder / "boats-web")
    assert [len(files.paths) for files in brought] == [3 * count for count in COUNTS.values()]


def test_every_run_is_complete(followed: Followed) -> None:
    outs = ["boatinfer-out/photos", "valid-out", "train-out", "svm-out", "fused-out", "python-out"]
    for out in outs:
        summary = _summary(followed.folder / out)
        assert (summary["complete"], summary["exit_code"]) == (True, 0)


def test_the_exported_model_is_as_accurate_as_training_said(followed: Followed) -> None:
    said = re.search(r"accuracy (\S+), macro-F1", _after(followed, "train cnn"))
    assert said is not None
    found = rows(followed.folder / "valid-out")
    accuracy = np.mean([row["guess"] == row["path"].split("/")[0] for row in found])
    assert float(said[1]) == pytest.approx(accuracy, abs=5.1e-4)
    assert len(found) == len(list((followed.folder / "boats/valid").rglob("*.jpg")))


def test_the_int8_model_is_compared_and_smaller(followed: Followed) -> None:
    said = _after(followed, "model quantize")
    assert re.search(r"^same label +\d", said, re.MULTILINE)
    times = re.search(r"([\d.]+) times smaller", said)
    assert times is not None
    before, after = (followed.folder / f"boats-{name}.onnx" for name in ("cnn", "int8"))
    assert float(times[1]) > 1.5
    assert before.stat().st_size > 1.5 * after.stat().st_size


def test_the_svm_labels_better_than_the_commonest_class(followed: Followed) -> None:
    found = rows(followed.folder / "svm-out")
    truth = [row["path"].split("/")[0] for row in found]
    accuracy = np.mean([row["svm_label"] == name for row, name in zip(found, truth, strict=True)])
    assert accuracy > 1.5 * max(truth.count(name) for name in set(truth)) / len(truth)


def test_the_svm_in_the_model_labels_as_the_one_beside_it(followed: Followed) -> None:
    beside, inside = rows(followed.folder / "svm-out"), rows(followed.folder / "fused-out")
    assert [row["svm_label"] for row in inside] == [row["svm_label"] for row in beside]


def test_the_doubtful_are_left_to_people(followed: Followed) -> None:
    found = rows(followed.folder / "valid-out")
    unsure = [row for row in found if row["label"] == "unsure"]
    assert all(float(row["confidence"]) < 0.8 for row in unsure)
    assert len(rows(followed.folder / "valid-out", "review.csv")) == len(unsure)


def test_svms_are_compared_with_the_network(followed: Followed) -> None:
    said = _after(followed, "svm compare")
    assert all(name in said for name in ["network (", "linear SVM", "RBF SVM"])
    with Image.open(followed.folder / "svms.png") as picture:
        assert picture.format == "PNG"


def test_features_are_those_of_all_training_images(followed: Followed) -> None:
    with np.load(followed.folder / "features.npz") as arrays:
        images = list((followed.folder / "boats/train").rglob("*.jpg"))
        assert arrays["features"].shape == (len(images), 50)
        assert len(set(arrays["paths"].tolist())) == len(images)


def test_the_evaluation_is_of_all_valid_images(followed: Followed) -> None:
    said = _after(followed, "boatinfer evaluate")
    count = len(list((followed.folder / "boats/valid").rglob("*.jpg")))
    assert f"images of known class: {count}\n" in said
    assert "Risk and coverage" in said
    assert "<svg" in (followed.folder / "evaluation.html").read_text()


def test_nearest_to_a_copy_is_its_original(followed: Followed) -> None:
    lines = _after(followed, "boatinfer similar").splitlines()
    assert len(lines) == 2 + 5
    assert float(lines[2].split()[-1]) < 1e-3


def test_python_prints_labels_and_counts(followed: Followed) -> None:
    labels, counts = _after(followed, "open_model").splitlines()
    assert re.fullmatch(r"\['\w+'\] \(1, 16\) \(1, 160\)", labels)
    found, classified, failed = map(int, counts.split())
    assert found == classified == len(list((followed.folder / "photos").rglob("*.jpg")))
    assert failed == 0


def test_the_documents_name_every_failure_reason_and_exit_code() -> None:
    results = (ROOT / "docs" / "results.md").read_text()
    assert all(f"`{reason}`" in results for reason in Failure)
    of_a_run = results.partition("## Exit codes")[2].partition("All other commands")[0]
    assert re.findall(r"^\| (\d[\d, ]*) \|", of_a_run, re.MULTILINE) == [
        *map(str, range(10)),
        "129, 130, 143",
    ]


def test_the_documents_name_every_ending() -> None:
    results = (ROOT / "docs" / "results.md").read_text()
    (listed,) = re.findall(r"`(\.avif .*?)`", results, re.DOTALL)
    assert set(listed.split()) == IMAGE_EXTENSIONS


def test_the_readme_is_short_and_its_picture_small() -> None:
    assert len(README.split()) < 1200
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", README)
    assert (ROOT / picture).stat().st_size < 150_000


def test_links_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document}: {link}"

"""No command dies of an image that crashes the decoder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import colours
import killers
from boatinfer import images
from boatinfer.errors import ImageError
from boatinfer.results.summary import Summary
from support import Shell


def test_classify(unsafe_shell: Shell, model_file: Path, tmp_path: Path) -> None:
    killers.write_killer(tmp_path / "killer.jpg", "segfault")
    (tmp_path / "red.jpg").write_bytes(colours.picture("red"))
    done = unsafe_shell("classify", "killer.jpg", "red.jpg", "-m", model_file)
    assert done.returncode == 3
    assert done.stdout.startswith("red.jpg\n")
    assert "killer.jpg: the process that worked on the image was ended by signal 11" in done.stderr
    assert done.stderr.count("\n") == 1


def test_similar(
    unsafe_shell: Shell, night: Callable[..., Summary], model_file: Path, tmp_path: Path
) -> None:
    night(features=True)
    killers.write_killer(tmp_path / "killer.jpg", "abort")
    done = unsafe_shell("similar", "killer.jpg", tmp_path / "out", "-m", model_file)
    assert done.returncode == 2
    assert done.stderr.startswith("boatinfer: killer.jpg: the process that worked on the image")
    assert done.stderr.count("\n") == 1


def test_report(
    unsafe_shell: Shell, night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    night()
    killers.write_killer(pictures / "red" / "000.jpg", "segfault")
    (tmp_path / "out" / "report.html").unlink()
    assert unsafe_shell("report", tmp_path / "out").returncode == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg") >= 11
    assert "was ended by signal 11" in page


def _size(path: Path) -> int:
    data = path.read_bytes()
    if b"killer" in data:
        os.abort()
    return len(data)


def test_results_keep_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(40)]
    for number, path in enumerate(paths):
        path.write_bytes(b"killer" if number == 17 else bytes(number))
    with images.IsolatedReader(_size) as reader:
        first, again = reader.map(paths), reader.map(paths[:5])
    assert first[:17] + first[18:] == [n for n in range(40) if n != 17]
    assert isinstance(first[17], ImageError)
    assert first[17].reason == "crashed"
    assert again == list(range(5))

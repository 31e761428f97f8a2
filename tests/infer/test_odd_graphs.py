"""Whatever a model file holds, it is opened or refused in a sentence with code 4."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from boatinfer.errors import ModelError
from boatinfer.models import session
from boatinfer.models.deadline import OverdueError, call_with_timeout
from boatinfer.models.model import load
from odd_graphs import endless_graphs, large_graphs, odd_graphs
from support import Command

ODD = dict(odd_graphs())


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_opened_or_refused(name: str, tmp_path: Path, boatinfer: Command) -> None:
    file = tmp_path / "odd.onnx"
    file.write_bytes(ODD[name])
    done = boatinfer("model", "show", file)
    assert done.code in {0, 4}
    if done.code:
        assert (done.out, done.err.count("\n")) == ("", 1)
        assert done.err.startswith(f"boatinfer: {file}")


@pytest.mark.parametrize(
    "name",
    [
        *("input of shape None", "input of shape []", "input of shape ['b', 3]"),
        *("input of type STRING", "input that is a sequence", "input that is a optional"),
        *("no inputs", "no outputs", "two inputs", "the future", "a custom operator"),
        *("output of NaN", "output of one column", "output that is a scalar"),
        *("golden image that is a large PNG", "golden image that is a large GIF"),
    ],
)
def test_what_cannot_work_is_refused(name: str) -> None:
    with pytest.raises(ModelError):
        load(ODD[name], Path("odd.onnx"), "cpu")


@pytest.mark.parametrize("name", dict(endless_graphs()))
def test_a_graph_that_does_not_end_is_refused(
    name: str, tmp_path: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "TIME_LIMIT", 0.5)
    file = tmp_path / "endless.onnx"
    file.write_bytes(dict(endless_graphs())[name])
    for command in (("model", "check"), ("model", "show")):
        done = boatinfer(*command, file)
        assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
        assert "it did not end within 0.5 s" in done.err
    for _ in range(100):  # the threads have ended with their graphs
        if not any(thread.name == "boatinfer-deadline" for thread in threading.enumerate()):
            break
        time.sleep(0.05)
    else:
        pytest.fail("a graph goes on")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("name", dict(large_graphs()))
def test_a_graph_that_takes_all_memory_is_refused_where_that_is_limited(
    name: str, tmp_path: Path
) -> None:
    file = tmp_path / "large.onnx"
    file.write_bytes(dict(large_graphs())[name])
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (2 << 30,) * 2); "
        "from boatinfer.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "model", "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines()[-1].startswith(f"boatinfer: {file}")


def test_a_call_that_is_late_is_left_behind() -> None:
    ended = threading.Event()
    with pytest.raises(OverdueError, match=r"did not end within 0\.1 s"):
        call_with_timeout(0.1, ended.wait, ended.set)
    assert call_with_timeout(5, lambda: 3) == 3
    with pytest.raises(KeyError):
        call_with_timeout(5, lambda: ODD["x"])

"""Whatever call to the system fails in a run: a sentence, nothing lost, the next run complete."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import colours
from support import Command, Outcome, rows

#: What a run calls, by module and name, and how the system may refuse it. Libraries in other
#: languages write their own files; there the class that does stands for its calls.
CALLS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "open": (os, (errno.EMFILE, errno.EIO)),
    "stat": (os, (errno.EIO, errno.ESTALE)),
    "fstat": (os, (errno.EIO,)),
    "scandir": (os, (errno.EIO, errno.EMFILE)),
    "listdir": (os, (errno.EACCES,)),
    "mkdir": (os, (errno.ENOSPC,)),
    "rename": (os, (errno.EIO,)),
    "replace": (os, (errno.ENOSPC, errno.EACCES)),
    "unlink": (os, (errno.EIO,)),
    "fsync": (os, (errno.EIO, errno.ENOSPC)),
    "read": (os, (errno.EIO, errno.ENOMEM)),
    "flock": (fcntl, (errno.ENOLCK,)),
    "text_files": (io, (errno.ENOSPC, errno.EIO)),
    "ParquetWriter": (pq, (errno.ENOSPC,)),
    "ParquetFile": (pq, (errno.EIO,)),
    "read_table": (pq, (errno.EIO,)),
    "CSVWriter": (pa.csv, (errno.ENOSPC,)),
    "OSFile": (pa, (errno.EIO,)),
}
#: Calls of each kind that are made to fail, first and last among them.
MOST = 3


@contextmanager
def failing(name: str, at: int, number: int) -> Iterator[list[int]]:
    """Lets the call of a name fail once; gives a list of one item, how many there have been."""
    module, attribute = CALLS[name][0], "open" if name == "text_files" else name
    real: Callable[..., Any] = getattr(module, attribute)
    calls = [0]

    def call(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            named = isinstance(arguments[0] if arguments else None, str | os.PathLike)
            raise OSError(number, os.strerror(number), *([str(arguments[0])] if named else []))
        return real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, attribute, call)
        yield calls


def complete(out: Path, found: int) -> bool:
    said = json.loads((out / "run.json").read_text())
    sound = said["classified"] + said["reused"]
    return bool(said["complete"]) and sound == found == len(rows(out))


def nothing_half_written(out: Path) -> None:
    for part in out.glob("parts/*.parquet"):
        pq.ParquetFile(part).read()
    for summary in [*out.glob("run.json"), *out.glob("runs/*.json")]:
        json.loads(summary.read_text())
    told = out / "run.json"
    last = json.loads(told.read_text()) if told.exists() else {"complete": False}
    if (out / "predictions.csv").exists():
        assert len(rows(out)) == last["found"] if last["complete"] else len(rows(out)) in {6, 7}
    if (out / "report.html").exists():
        assert (out / "report.html").read_text().rstrip().endswith("</html>")


@pytest.mark.skipif(sys.platform == "win32", reason="the calls are those of POSIX")
@pytest.mark.parametrize("night", ["first", "second"])
@pytest.mark.parametrize("name", CALLS)
def test_each_call_that_fails(
    boatinfer: Command, tmp_path: Path, model_file: Path, name: str, night: str
) -> None:
    pictures, found = tmp_path / "pictures", 6
    colours.write_pictures(pictures, each=2)

    def run(out: Path) -> Outcome:
        options = ("-m", model_file, "--threads", 1, "--quiet", "--no-isolate")
        return boatinfer("run", pictures, "-o", out, *options)

    def out(label: object) -> Path:
        folder = tmp_path / f"out-{label}"
        if night == "second":  # there are results, and one image is new
            (pictures / "new.jpg").unlink(missing_ok=True)
            assert run(folder).code == 0
            (pictures / "new.jpg").write_bytes(colours.picture("red", 77))
        return folder

    found += night == "second"
    with failing(name, 0, 0) as calls:
        run(out("none"))
    with failing(name, 0, 0) as calls:
        run(out("count"))
    step = max(1, calls[0] // MOST)
    for at in sorted({1, *range(step, calls[0] + 1, step), calls[0]} - {0}):
        folder = out(at)
        errors = CALLS[name][1]
        with failing(name, at, errors[at % len(errors)]) as calls:
            done = run(folder)
        case = f"{name} {at}: {done}"
        assert done.code in {0, 1, 2, 3, 4, 7, 8}, case  # 4: the model could not be read
        assert "Traceback" not in done.err, case
        assert done.code == 0 or done.err.startswith("boatinfer: "), case
        nothing_half_written(folder)
        told = folder / "run.json"
        written = json.loads(told.read_text())["classified"] if told.exists() else 0
        again = run(folder)
        assert again.code == 0, (case, again)
        assert complete(folder, found), case
        if night == "first" and written:
            assert json.loads(told.read_text())["reused"] >= written, case
        assert not list(folder.rglob("*.tmp")), case

"""Feeds damaged files to everything that reads files, and tells what ends otherwise than it should.

python benchmarks/fuzz_readers.py [--minutes 1] [--seed 0] [--gigabytes 4] [READER ...]

Valid files are changed at random (bits, cuts, splices, odd integers) and read in a process of its
own, whose memory is limited. A reader may accept a file, or raise an error of boatinfer's; any
other exception, a death or a minute without an answer is a finding: it is printed, and the file
is kept in ``fuzz-findings/``. Without names all readers take their turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import random
import resource
import shutil
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import colours
from boatinfer.errors import BoatinferError
from boatinfer.storage.documents import DocumentError

#: Seconds after which a reader hangs.
_PATIENCE = 60
_FINDINGS = Path("fuzz-findings")
_INTEGERS = [*(0, 1, -1, 127, 128, 255, 256), *(2**n for n in (15, 16, 31, 32, 62)), -(2**63)]
_TEXTS = [
    *(b"NaN", b"1e999", b"-1", b"null", b"[]", b"{}", b'""', b"\xff", b"\0"),
    *(b"[" * 5000, b"9" * 40),
]


class Reader(NamedTuple):
    """Something that reads files.

    Attributes:
        seeds: makes valid files.
        read: is given a changed one, and an empty folder.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]


def changed(content: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Changes a file at one place or a few."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
        place = chance.randrange(len(data) + 1)
        span = chance.choice([1, 2, 4, 8, 64, 1024])
        match chance.randrange(8):
            case 0 | 1 if data:
                data[place % len(data)] ^= 1 << chance.randrange(8)
            case 2:
                del data[place : place + span]
            case 3:
                other = chance.choice(others)
                start = chance.randrange(len(other) + 1)
                data[place : place + chance.choice([0, span])] = other[start : start + span]
            case 4:
                width, order = chance.choice([1, 2, 4, 8]), chance.choice(["little", "big"])
                number = chance.choice(_INTEGERS) % 256**width
                data[place : place + width] = number.to_bytes(width, order)  # type: ignore[arg-type]
            case 5:
                data[place : place + chance.choice([0, span])] = chance.choice(_TEXTS)
            case 6:
                data[place : place + span] = bytes(len(data[place : place + span]))
            case _ if chance.random() < 0.2:
                del data[place:]
    return bytes(data)


# The valid files ---------------------------------------------------------------------------------


@cache
def _results() -> Path:
    """A results folder with features, of two runs and of shards, and what else a night reads."""
    from boatinfer.analysis.evaluate import evaluate
    from boatinfer.analysis.options import EvaluateOptions
    from boatinfer.pipeline.options import RunOptions
    from boatinfer.pipeline.run import run

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    model = colours.write_model(folder / "colours.onnx")
    colours.write_pictures(folder / "pictures", each=6)
    (folder / "pictures" / "bad.jpg").write_bytes(b"hello")
    options = {"model": model, "features": True, "max_failures": "1"}
    for _ in range(2):
        run(RunOptions(folder / "pictures", folder / "out", **options))
    for shard in ("1/2", "2/2"):
        run(RunOptions(folder / "pictures", folder / "shards", shard=shard, **options))
    shutil.rmtree(folder / "pictures" / "bad.jpg", ignore_errors=True)
    evaluated = evaluate(EvaluateOptions(folder / "out"))
    (folder / "evaluation.json").write_text(json.dumps(evaluated.document()))
    return folder


def _files(*patterns: str) -> list[bytes]:
    return [file.read_bytes() for of in patterns for file in sorted(_results().glob(of))]


def _svms() -> list[bytes]:
    from boatinfer.models.seal import PICKLE
    from boatinfer.svm.fit import fit
    from boatinfer.svm.options import FitOptions

    file = _results() / "svm.joblib"
    made = []
    for kernel in ("rbf", "linear"):
        fit(FitOptions(_results() / "out", file, kernel, probability=True, force=True))  # type: ignore[arg-type]
        made.append(file.read_bytes()[: -len(PICKLE) - 64])
    return made


def _archives() -> list[bytes]:
    made = []
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]
            tar.add(_results() / "pictures", "data")
        made.append(packed.getvalue())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in sorted((_results() / "pictures").rglob("*.jpg")):
            zipped.write(file, f"data/{file.parent.name}/{file.name}")
    return [*made, packed.getvalue()]


def _checkpoints() -> list[bytes]:
    import numpy as np

    from boattrain.fitting.checkpoint import _GROUPS, Checkpoint, State

    arrays = [np.ones((3, 4), np.float32), np.arange(5)]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    groups = dict.fromkeys(_GROUPS, arrays)
    Checkpoint(folder, {"a": 1}).save(State([], arrays, **groups), 0)
    return [(folder / "last.npz").read_bytes()]


# The readers -------------------------------------------------------------------------------------


def _read_svm(content: bytes, folder: Path) -> None:
    import numpy as np

    from boatinfer.models.seal import PICKLE, seal
    from boatinfer.models.svm import read

    svm = read(seal(content, PICKLE), folder)
    scores = svm.scores(np.ones((3, svm.dimension), np.float32))
    assert np.isfinite(scores).all()


def _read_card(content: bytes, _: Path) -> None:
    from boatinfer.models.card import decode_card

    decode_card(content, "card")


def _read_golden(content: bytes, _: Path) -> None:
    from boatinfer.models.card import decode_golden

    decode_golden(content, "golden")


def _read_model(content: bytes, folder: Path) -> None:
    from boatinfer.models import session
    from boatinfer.models.model import load
    from boatinfer.models.seal import seal

    session.TIME_LIMIT = 20.0
    load(seal(content), folder / "model.onnx", "cpu", 1)


def _read_sealed(content: bytes, folder: Path) -> None:
    from boatinfer.models.seal import sealed_digest

    sealed_digest(content, folder)


def _read_part(content: bytes, folder: Path) -> None:
    """As an enemy may write one: its name fits its bytes."""
    from boatinfer.results.store.index import RowIndex
    from boatinfer.results.store.parts import Parts, digest

    (folder / f"000001-{digest(content)}.parquet").write_bytes(content)
    parts = Parts(folder)
    index = parts.index()
    for table in parts.read(index, ["path", "content", "probabilities", "features", "error"]):
        table.validate(full=True)
    row_index = RowIndex(parts, "f00d", "x")
    row_index.read()
    list(row_index.last_rows())


def _read_summary(content: bytes, _: Path) -> None:
    from boatinfer.results.summary import parsed

    parsed(content.replace(b'"digest"', b'"digesT"')).text()


def _read_note(content: bytes, folder: Path) -> None:
    from boatinfer.results.folder import Results

    shutil.copytree(_results() / "out", folder / "out")
    (folder / "out" / ".current.parquet").write_bytes(content)
    Results(folder / "out").current()


def _read_handover(content: bytes, folder: Path) -> None:
    from boatinfer.pipeline.shard_manifest import read_manifest, read_rows
    from boatinfer.results.folder import Results
    from boatinfer.results.store.shards import Shard

    (folder / "shards").mkdir()
    (folder / "shards" / "1-of-2.parquet").write_bytes(content)
    results = Results(folder)
    read_manifest(results, Shard(2, 1))
    read_rows(results, Shard(2, 1))


def _read_folder(content: bytes, folder: Path) -> None:
    """A whole results folder, packed: its files are damaged one by one."""
    from boatinfer.pages.report import make_report
    from boatinfer.results.folder import Results
    from boatinfer.results.integrity import find_damage
    from boatinfer.results.status import folder_status

    with zipfile.ZipFile(io.BytesIO(_packed())) as zipped:
        zipped.extractall(folder)
        names = zipped.namelist()
    number = int.from_bytes(content[:2], "big") % len(names)
    (folder / names[number]).write_bytes(content[2:])
    results = Results(folder)
    for ask in (
        folder_status,
        Results.current,
        lambda of: list(find_damage(of)),
        lambda _: make_report(folder),
    ):
        with contextlib.suppress(BoatinferError):
            ask(results)


@cache
def _packed() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for file in sorted((_results() / "out").rglob("*")):
            if file.is_file():
                zipped.write(file, str(file.relative_to(_results() / "out")))
    return packed.getvalue()


def _folder_files() -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(_packed())) as zipped:
        return [
            number.to_bytes(2, "big") + zipped.read(name)
            for number, name in enumerate(zipped.namelist())
        ]


def _read_labels(content: bytes, folder: Path) -> None:
    import pyarrow as pa

    from boatinfer.analysis.truth import from_table

    (folder / "labels.csv").write_bytes(content)
    from_table(folder / "labels.csv", pa.array(["red/000.jpg", "green/001.jpg"]), "/pictures")


def _read_list(content: bytes, folder: Path) -> None:
    from boatinfer.storage.listing import files_from_list

    (folder / "list").write_bytes(content)
    list(files_from_list(folder, folder / "list"))


def _read_evaluation(content: bytes, folder: Path) -> None:
    from boatinfer.analysis import abstention

    (folder / "e.json").write_bytes(content)
    model = json.loads(_files("evaluation.json")[0])["model"]
    curve, images = abstention._read(folder / "e.json", model)
    abstention.find_threshold(curve, images, 0.5)


def _read_archive(content: bytes, folder: Path) -> None:
    from boattrain.data.unpack import unpack

    (folder / "archive").write_bytes(content)
    (folder / "place").mkdir()
    unpack(folder / "archive", folder / "place", "archive")


def _read_checkpoint(content: bytes, folder: Path) -> None:
    from boattrain.fitting.checkpoint import Checkpoint

    (folder / "last.npz").write_bytes(content)
    (folder / "best-0.npz").write_bytes(content)
    Checkpoint(folder, {"a": 1}).load()


def _read_config(content: bytes, folder: Path) -> None:
    from boattrain import config

    (folder / "x.toml").write_bytes(content)
    config._read(folder / "x.toml", {"size", "epochs", "batch_size", "force"}, "train cnn")


def _read_lease(content: bytes, _: Path) -> None:
    from boatinfer.storage.documents import decode_document
    from boatinfer.storage.lease import _holder_has_ended, _Record

    _holder_has_ended(decode_document(content, _Record))


_LEASE = b'{"holder":"process 7 on host","key":"k","place":"p","process":7,"generation":0}'
_TOML = b'command = "train cnn"\nsize = "12x40"\nepochs = 3\nbatch-size = 32\nforce = true\n'
_LABELS = b'path,label\nred/000.jpg,red\n"green/001.jpg",\'=green\n./blue/000.jpg,blue\n'
_LIST = b"red/000.jpg\r\ngreen/001.jpg\nblue/../blue/000.jpg\n"

READERS = {
    "svm": Reader(_svms, _read_svm),
    "card": Reader(lambda: [_metadata(0)], _read_card),
    "golden": Reader(lambda: [_metadata(1)], _read_golden),
    "model": Reader(lambda: _files("*.onnx"), _read_model),
    "seal": Reader(lambda: _files("*.onnx"), _read_sealed),
    "part": Reader(lambda: _files("out/parts/*", "shards/parts/*"), _read_part),
    "summary": Reader(lambda: _files("out/run.json", "shards/shards/*.json"), _read_summary),
    "note": Reader(lambda: _files("out/.current.parquet"), _read_note),
    "handover": Reader(lambda: _files("shards/shards/*.parquet"), _read_handover),
    "folder": Reader(_folder_files, _read_folder),
    "labels": Reader(lambda: [_LABELS, *_files("out/predictions.csv")], _read_labels),
    "list": Reader(lambda: [_LIST], _read_list),
    "evaluation": Reader(lambda: _files("evaluation.json"), _read_evaluation),
    "archive": Reader(_archives, _read_archive),
    "checkpoint": Reader(_checkpoints, _read_checkpoint),
    "config": Reader(lambda: [_TOML], _read_config),
    "lease": Reader(lambda: [_LEASE], _read_lease),
}


def _metadata(which: int) -> bytes:
    from boatinfer.models.card import encode

    return encode([colours.card(), colours.golden()][which]).encode()


# The work ----------------------------------------------------------------------------------------


def _work(name: str, seed: int, ends: float, gigabytes: float, place: Path) -> None:
    """Reads changed files; ``place/now`` is the one in work."""
    reader, chance = READERS[name], random.Random(seed)
    seeds = reader.seeds()
    for content in seeds:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            _try(reader, content, Path(folder), place)
    limit = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    count = 0
    while time.time() < ends:
        content = changed(chance.choice(seeds), seeds, chance)
        (place / "now").write_bytes(content)
        with tempfile.TemporaryDirectory(dir=place) as folder:
            _try(reader, content, Path(folder), place)
        count += 1
        (place / "count").write_text(str(count))


def _try(reader: Reader, content: bytes, folder: Path, place: Path) -> None:
    try:
        reader.read(content, folder)
    except (BoatinferError, DocumentError):
        pass
    except BaseException:
        _keep(place, content, traceback.format_exc(limit=-4))


def _keep(place: Path, content: bytes, why: str) -> None:
    what = why.strip().splitlines()[-1][:60]
    (place / "found").mkdir(exist_ok=True)
    file = place / "found" / f"{abs(hash(what)) % 10**8}"
    if not file.exists():
        file.write_bytes(content)
        file.with_suffix(".txt").write_text(why, errors="backslashreplace")


def fuzz(name: str, seed: int, minutes: float, gigabytes: float) -> int:
    """Fuzzes a reader; gives how many findings there are."""
    ends, found, done = time.time() + 60 * minutes, 0, 0
    place = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    while time.time() < ends:
        context: Any = multiprocessing.get_context("spawn")
        process = context.Process(target=_work, args=(name, seed, ends, gigabytes, place))
        process.start()
        while process.is_alive() and not _hangs(place):
            process.join(1)
        hangs = process.is_alive()
        process.kill()
        process.join()
        done += int((place / "count").read_text()) if (place / "count").exists() else 0
        if hangs or process.exitcode:
            why = "hangs" if hangs else f"died with {process.exitcode}"
            _keep(place, (place / "now").read_bytes() if (place / "now").exists() else b"", why)
        seed += 1000
        for file in [place / "count", place / "now"]:
            file.unlink(missing_ok=True)
    for file in sorted((place / "found").glob("*.txt")):
        _FINDINGS.mkdir(exist_ok=True)
        found += 1
        kept = _FINDINGS / f"{name}-{file.stem}"
        shutil.copy(file.with_suffix(""), kept)
        print(f"{name}: {kept}\n{file.read_text()}")
    print(f"{name}: {done:,} files read, {found} findings", flush=True)
    shutil.rmtree(place)
    return found


def _hangs(place: Path) -> bool:
    now = place / "now"
    return now.exists() and time.time() - now.stat().st_mtime > _PATIENCE


def main() -> int:
    """Fuzzes the readers that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--minutes", type=float, default=1, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gigabytes", type=float, default=4, help="of address space")
    options = parser.parse_args()
    found = [
        fuzz(name, options.seed, options.minutes, options.gigabytes)
        for name in options.readers or READERS
    ]
    return int(any(found))


if __name__ == "__main__":
    sys.exit(main())

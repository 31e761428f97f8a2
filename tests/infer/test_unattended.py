"""Years of nights: killed processes, nasty images, folders that change under the run."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import colours
from boatinfer import images
from boatinfer.pipeline import plan
from boatinfer.pipeline.classifier import Classifier
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import Progress, run
from boatinfer.results.store.parts import Parts
from boatinfer.storage.listing import ListedFile
from support import command, outcomes, rows, slow_run

KILLS = 20


def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(
    model_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    colours.write_pictures(folder, each=250)
    (folder / "broken.jpg").write_bytes(colours.picture("red")[:400])
    options = RunOptions(folder, tmp_path / "out", model_file, batch_size=4)
    moments = random.Random(0)
    holder, parts = tmp_path / "out" / ".holder", tmp_path / "out" / "parts"
    seen = []
    for number in range(KILLS):
        holder.unlink(missing_ok=True)
        process = slow_run(options)
        written = len(list(parts.glob("*.parquet")))
        while not holder.exists() and process.is_alive():
            time.sleep(0.01)
        # Every other one has begun to write, however slow the machine is.
        while number % 2 and len(list(parts.glob("*.parquet"))) == written and process.is_alive():
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        process.terminate() if number % 5 == 4 else process.kill()
        process.join()
        seen.append(Parts(parts).index().num_rows)
    assert seen == sorted(seen)  # nothing that was written is ever lost
    assert len(set(seen)) > 2  # the kills did hit working runs
    for out in ("out", "undisturbed"):
        run(RunOptions(folder, tmp_path / out, model_file))
    for name in ("predictions.csv", "failures.csv"):
        assert outcomes(tmp_path / "out", name) == outcomes(tmp_path / "undisturbed", name)
    assert not list((tmp_path / "out").rglob("*.tmp"))


def nasty(folder: Path) -> dict[str, str]:
    """Makes the nasty images; gives the status that each must get."""
    whole = colours.picture("red", size=(320, 96))
    png = colours.picture("green", form="PNG")
    tall = bytearray(whole)
    frame = tall.index(b"\xff\xc0")
    tall[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    files: dict[str, tuple[bytes, str]] = {
        "empty.jpg": (b"", "not_an_image"),
        "text.jpg": (b"hello", "not_an_image"),
        "huge.jpg": (bytes(tall), "too_large"),
        "cut.png": (png[: len(png) // 2], "corrupt"),
        "lying.png": (whole, "ok"),
        "a b.jpg": (whole, "ok"),
        "new\nline.jpg": (whole, "ok"),
        'quote".jpg': (whole, "ok"),
        "=cmd().jpg": (whole, "ok"),
        "<script>alert(1)<&>.jpg": (whole, "ok"),
        os.fsdecode(b"\xff\xfe.jpg"): (whole, "ok"),
    }
    for share in range(1, 20):
        files[f"cut-{share:02}.jpg"] = (whole[: len(whole) * share // 20], "corrupt")
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        files[f"turned-{orientation}.jpg"] = (colours.picture("red", exif=exif), "ok")
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    for mode, form, name in [
        *(("CMYK", "JPEG", "cmyk.jpg"), ("L", "JPEG", "grey.jpg"), ("P", "PNG", "palette.png")),
        *(("RGBA", "PNG", "alpha.png"), ("1", "PNG", "bits.png"), ("I;16", "PNG", "deep.png")),
        *(("LA", "PNG", "grey-alpha.png"), ("P", "GIF", "x.gif"), ("RGB", "WEBP", "x.webp")),
    ]:
        Image.new(mode, (90, 31)).save(folder / name, form)
        files[name] = (b"", "ok")
    frames = [Image.new("RGB", (90, 31), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].resize((9000, 3)).save(folder / "wide.jpg", progressive=True)
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    wanted = {name: status for name, (_, status) in files.items()}
    return wanted | {
        **{"moving.gif": "ok", "wide.jpg": "ok", "dangling.jpg": "vanished"},
        "pipe.jpg": "unreadable",
    }


@pytest.mark.parametrize("allowed", ["5%", "100%"])
def test_a_folder_of_nasty_images(model_file: Path, tmp_path: Path, allowed: str) -> None:
    folder = tmp_path / "nasty"
    folder.mkdir()
    wanted = nasty(folder)
    done = subprocess.run(
        command(folder, tmp_path / "out", model_file, "--max-failures", allowed),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (3 if allowed == "5%" else 0)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (1 if allowed == "5%" else 0)
    found = {row["path"]: row["status"] for row in rows(tmp_path / "out")}
    assert found == {
        name.replace(os.fsdecode(b"\xff\xfe"), "\\xff\\xfe").replace("=cmd", "./=cmd"): status
        for name, status in wanted.items()
    }


def test_the_order_of_the_listing_changes_nothing(
    pictures: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(RunOptions(pictures, tmp_path / "sorted", model_file))
    chunks = plan.chunks
    shuffle = random.Random(1)

    def shuffled(found: Iterable[ListedFile]) -> Iterator[list[ListedFile]]:
        files = list(found)
        return chunks(shuffle.sample(files, len(files)))

    monkeypatch.setattr(plan, "chunks", shuffled)
    monkeypatch.setattr(plan, "CHUNK_FILES", 5)
    run(RunOptions(pictures, tmp_path / "shuffled", model_file, batch_size=3, threads=3))
    assert outcomes(tmp_path / "shuffled") == outcomes(tmp_path / "sorted")


def test_results_may_lie_inside_the_folder(pictures: Path, model_file: Path) -> None:
    out = pictures / "results"
    for reused in (0, 12):
        summary = run(RunOptions(pictures, out, model_file))
        assert (summary.found, summary.reused) == (12, reused)


def test_an_image_written_while_it_is_read_is_done_again(
    pictures: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = pictures / "red" / "000.jpg"
    load = images.load

    def write_on(path: str) -> Any:
        loaded = load(path)
        if Path(path) == late:
            late.write_bytes(colours.picture("blue", seed=66))
        return loaded

    with monkeypatch.context() as writing:
        writing.setattr("boatinfer.images.files.load", write_on)
        assert run(RunOptions(pictures, tmp_path / "out", model_file, isolate=False)).complete
    summary = run(RunOptions(pictures, tmp_path / "out", model_file, isolate=False))
    assert (summary.classified, summary.reused) == (1, 11)
    assert {r["path"]: r["label"] for r in rows(tmp_path / "out")}["red/000.jpg"] == "blue"


def test_a_folder_that_vanishes_half_way(
    pictures: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = plan.chunks

    def then_remove(found: Iterable[ListedFile]) -> Iterator[list[ListedFile]]:
        (chunk,) = chunks(found)
        shutil.rmtree(pictures / "green")
        yield chunk

    with monkeypatch.context() as vanishing:
        vanishing.setattr(plan, "chunks", then_remove)
        summary = run(RunOptions(pictures, tmp_path / "out", model_file))
    assert (summary.complete, summary.exit_code) == (True, 3)
    assert summary.failures == {"vanished": 4}
    assert run(RunOptions(pictures, tmp_path / "out", model_file)).found == 8


def test_seventy_thousand_files_in_one_folder(model_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(70_000):  # more chunks than one, and enough parts to be merged
        os.close(os.open(folder / f"{number:06}.jpg", os.O_CREAT | os.O_WRONLY))
    (folder / "050000.jpg").write_bytes(colours.picture("red"))
    options = RunOptions(folder, tmp_path / "out", model_file, max_failures="100%")
    summary = run(options)
    assert (summary.found, summary.classified, summary.failed) == (70_000, 1, 69_999)
    assert summary.complete
    assert summary.failures == {"not_an_image": 69_999}


def test_parts_are_bounded_in_seconds(
    pictures: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=20)
    monkeypatch.setattr("boatinfer.pipeline.engines.local.time.monotonic", lambda: next(clock))
    run(RunOptions(pictures, tmp_path / "out", model_file, batch_size=1))
    assert len(Parts(tmp_path / "out" / "parts").files()) >= 5


def test_images_are_classified_while_the_folder_is_still_listed(
    pictures: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classified = threading.Event()
    read = images.read

    def note(*arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():  # not the self-test
            classified.set()
        return read(*arguments, **options)

    def slow_disk(found: Iterable[ListedFile]) -> Iterator[list[ListedFile]]:
        for file in found:
            yield [file]
            assert classified.wait(10)

    monkeypatch.setattr(images, "read", note)
    monkeypatch.setattr(plan, "chunks", slow_disk)
    assert run(RunOptions(pictures, tmp_path / "out", model_file, isolate=False)).classified == 12


def test_how_much_there_is_to_do_is_known_long_before_the_end(
    pictures: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Classifier.__call__

    def slow(self: Classifier, batch: Any) -> Any:
        time.sleep(0.1)
        return work(self, batch)

    monkeypatch.setattr(Classifier, "__call__", slow)
    seen: list[Progress] = []
    run(
        RunOptions(pictures, tmp_path / "out", model_file, batch_size=1, threads=1, isolate=False),
        seen.append,
    )
    assert seen[0] == (None, 0, 0)
    assert [now.total for now in seen[2:]] == [12] * 11

"""What a listing sees and does not take is told, and folders may move."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import colours
from boatinfer.errors import BusyError, UsageError, install_hint
from boatinfer.pipeline.merge_shards import finish
from boatinfer.results.folder import Results
from boatinfer.results.left_out import left_out_in_words
from boatinfer.results.moving import relocate
from boatinfer.results.summary import Summary
from boatinfer.storage.listing import LeftOut, scan
from support import Command, counts, rows

Run = Callable[..., Summary]

#: Names under which an image is one by its content alone.
DISGUISED = ("photo", "b.insp", "c.jpg?width=300", "d.jpg ", "e.jpg_original", "f.xyz")


@pytest.fixture(autouse=True)
def no_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that reads raw files is not installed."""
    monkeypatch.setattr("boatinfer.file_types.raw_is_supported", lambda: False)
    monkeypatch.setattr("boatinfer.results.left_out.raw_is_supported", lambda: False)


def test_other_files_are_counted_by_ending_on_every_page(
    night: Run, boatinfer: Command, pictures: Path, tmp_path: Path, model_file: Path
) -> None:
    for name in ("a.CR2", "b.cr2", "red/c.cr2", "d.mov", "README", "e.txt", ".hidden"):
        (pictures / name).write_bytes(b"II*\0 anything")
    (pictures / "README").write_text("no image")
    out = tmp_path / "out"
    outcome = boatinfer("run", pictures, "-o", out, "-m", model_file)
    assert outcome.code == 0
    assert "not taken: 6 other files: 3 .cr2, 1 (no ending), 1 .mov and 1 .txt" in outcome.out
    assert install_hint("raw") in outcome.out
    told = json.loads((out / "run.json").read_text())["other_files"]
    assert told == {"(no ending)": 1, ".cr2": 3, ".mov": 1, ".txt": 1}
    assert "6 other files: 3 .cr2" in (out / "report.html").read_text()


def test_the_commonest_endings_are_counted_by_name(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"file.{number}").touch()
    for number in range(3):  # they are listed last
        (tmp_path / f"z{number}.mov").touch()
    left_out = LeftOut()
    assert list(scan(tmp_path, left_out=left_out)) == []
    counts = left_out.other_files
    assert (counts[".mov"], counts["(others)"], len(counts), sum(counts.values())) == (
        3,
        61,
        41,
        103,
    )


def test_a_listing_of_files_that_are_no_images_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_into: list[str] = []
    monkeypatch.setattr("boatinfer.storage.listing.has_image_signature", looked_into.append)
    for number in range(10):
        (tmp_path / f"{number}.unknown").touch()
        (tmp_path / f"folder{number}").mkdir()
    assert list(scan(tmp_path, stopped=lambda: len(looked_into) == 3)) == []
    assert len(looked_into) == 3


@pytest.mark.parametrize("sniff", [None, True, False])
def test_images_of_unknown_endings_are_seen_for_what_they_are(
    night: Run, pictures: Path, tmp_path: Path, sniff: bool | None
) -> None:
    for number, name in enumerate(DISGUISED):
        (pictures / name).write_bytes(colours.picture("red", 50 + number))
    (pictures / "upload.jpg.part").write_bytes(colours.picture("red", 90)[:99])
    (pictures / "g.xyz").write_text("BMW, P1 and other text")
    summary = night(sniff=sniff)
    assert counts(summary) == ((12, 12, 0, 0) if sniff is False else (18, 18, 0, 0))
    assert sum(summary.other_files.values()) == (8 if sniff is False else 2)


SYSTEM = (
    *("@eaDir/a.jpg", "#recycle", "$RECYCLE.BIN/S-1-5", "System Volume Information"),
    *("lost+found", ".Trash-1000/files", "@Recycle", "red/@eaDir/x.jpg"),
)


def test_folders_of_the_system_are_passed_over_and_counted(
    night: Run, pictures: Path, tmp_path: Path
) -> None:
    for number, folder in enumerate(SYSTEM):
        (pictures / folder).mkdir(parents=True)
        (pictures / folder / "x.jpg").write_bytes(colours.picture("blue", 50 + number))
    summary = night()
    assert summary.found == 12
    assert summary.system_folders == {
        **{"#recycle": 1, "$RECYCLE.BIN": 1, ".Trash-1000": 1, "@Recycle": 1, "@eaDir": 2},
        **{"System Volume Information": 1, "lost+found": 1},
    }
    assert any("8 folders of the system" in said for said in left_out_in_words(summary))
    assert night(system_folders=True).found == 12 + len(SYSTEM)
    assert night().found == 12


def test_raw_files_are_no_images_without_the_extra(night: Run, pictures: Path) -> None:
    for name in ("a.3fr", "b.IIQ", "c.cr2_original", "d.x3f"):
        (pictures / name).write_bytes(b"II*\0" + bytes(60))
    summary = night()
    assert counts(summary) == (12, 12, 0, 0)
    assert sum(summary.other_files.values()) == 4


def test_results_in_which_every_image_failed_follow_too(night: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("no image")
    night(folder=tmp_path / "in", out=tmp_path / "o", max_failures="100%")
    new = (tmp_path / "in").rename(tmp_path / "moved")
    assert str(new) in relocate(tmp_path / "o", new, force=False)


def test_shards_count_what_they_left_out_once(night: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "a.mov").touch()
    for shard in ("1/2", "2/2"):
        night(shard=shard)
    assert finish(tmp_path / "out").other_files == {".mov": 1}


def test_an_empty_folder_says_what_else_is_in_it(night: Run, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.nef").touch()
    with pytest.raises(UsageError, match=r"no image files \(1 other file: 1 \.nef\)"):
        night(folder=tmp_path / "raw", out=tmp_path / "none")


def test_results_follow_a_folder_that_was_moved(
    night: Run, boatinfer: Command, pictures: Path, tmp_path: Path
) -> None:
    night()
    out, new = tmp_path / "out", tmp_path / "new place"
    pictures.rename(new)
    with pytest.raises(UsageError, match="holds the results of"):
        night(folder=new)
    outcome = boatinfer("results", out, "--moved", new)
    assert (outcome.code, outcome.err) == (0, "")
    assert "12 of 12 images looked for" in outcome.out
    told = json.loads((out / "run.json").read_text())
    assert told["folder"] == str(new)
    assert "The folder was" in told["remarks"][-1]
    assert boatinfer("results", out, "--verify").code == 0
    assert counts(night(folder=new)) == (12, 0, 12, 0)
    assert len(rows(out)) == 12


def test_results_do_not_follow_to_a_folder_without_the_images(
    night: Run, pictures: Path, tmp_path: Path
) -> None:
    night()
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    with pytest.raises(UsageError, match=r"of 12 images .* 0 are in"):
        relocate(out, other, force=False)
    with pytest.raises(UsageError, match="does not exist"):
        relocate(out, tmp_path / "nowhere", force=True)
    with Results(out).lock(str(pictures)), pytest.raises(BusyError):
        relocate(out, other, force=True)
    assert json.loads((out / "run.json").read_text())["folder"] == str(pictures)
    relocate(out, other, force=True)
    assert json.loads((out / "run.json").read_text())["folder"] == str(other)


@pytest.mark.parametrize(("ending", "read"), [(".cr2", True), (".mov", False), (".mov", True)])
def test_the_extra_for_raw_files_is_named_to_whom_it_would_help(
    monkeypatch: pytest.MonkeyPatch, ending: str, read: bool
) -> None:
    monkeypatch.setattr("boatinfer.results.left_out.raw_is_supported", lambda: read)
    left_out = SimpleNamespace(other_files={ending: 2}, system_folders={})
    assert left_out_in_words(left_out) == [f"2 other files: 2 {ending}"]

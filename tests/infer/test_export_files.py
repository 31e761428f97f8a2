"""`boatinfer results OUT --to folders`, ``xmp`` and ``sqlite``."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import colours
from boatinfer.errors import OutputError, UsageError
from boatinfer.formats import export, folders
from boatinfer.formats.folders import LIST, undo
from boatinfer.formats.options import ExportOptions, Link
from boatinfer.results.reader import ResultsReader
from boatinfer.results.summary import Summary
from boatinfer.text import from_text
from support import Command, rows

Night = Callable[..., Summary]

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"


@pytest.fixture
def out(night: Night, pictures: Path, tmp_path: Path) -> Path:
    """Images of equal names in several folders, one with an odd name, one that failed."""
    (pictures / "more" / "deep").mkdir(parents=True)
    for number, name in enumerate(("more/deep/000.jpg", "more/000.jpg", "=1 é&.jpg")):
        (pictures / name).write_bytes(colours.picture("red", seed=60 + number))
    (pictures / "broken.jpg").write_bytes(b"no image")
    night(max_failures="9")
    return tmp_path / "out"


def labels(out: Path) -> dict[str, str]:
    """The label of each classified image, by its path."""
    return {
        from_text(row["path"].removeprefix("./")): row["label"] for row in rows(out) if row["label"]
    }


def content(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("link", list(Link))
def test_class_folders_have_every_image_once_and_are_undone(
    boatinfer: Command, out: Path, pictures: Path, tmp_path: Path, link: Link
) -> None:
    target, before = tmp_path / "classes", content(pictures)
    done = boatinfer("results", out, "--to", "folders", "-o", target, "--link", link)
    assert done.out == f"15 images: {target}\nLeft out: 1 image that failed.\n"
    listed = rows(target, LIST)
    assert len({row["made"].casefold() for row in listed}) == 15
    wanted = {(str(pictures / path), label) for path, label in labels(out).items()}
    assert {(row["of"], row["made"].split("/")[0]) for row in listed} == wanted
    for row in listed:
        made = target / row["made"]
        assert made.read_bytes() == Path(row["of"]).read_bytes()
        assert made.is_symlink() is (link is Link.SYMLINK)
        assert (made.stat().st_ino == Path(row["of"]).stat().st_ino) is (link is not Link.COPY)
    assert {"000.jpg", "red__000.jpg", "more__deep__000.jpg"} < {
        file.name for file in (target / "red").iterdir()
    }
    done = boatinfer("results", out, "--undo", target)
    assert (done.code, done.out) == (0, f"15 files removed from {target}\n")
    assert not target.exists()
    assert content(pictures) == before


def test_undo_leaves_what_is_not_as_it_was_made(out: Path, pictures: Path, tmp_path: Path) -> None:
    target = tmp_path / "classes"
    export(out, "folders", ExportOptions(output=target))
    (target / "mine.txt").write_text("mine")
    red, *_ = sorted((target / "red").iterdir())
    red.unlink()
    red.write_bytes(b"edited")
    (pictures / "blue" / "000.jpg").unlink()  # what was made is now the only one
    sentence = undo(target)
    assert sentence == f"13 files removed from {target}; 2 files changed since stay"
    blue = target / "blue" / "000.jpg"
    left = {file for file in target.rglob("*") if file.is_file()}
    assert left == {target / "mine.txt", red, blue}
    with pytest.raises(UsageError, match=r"holds no boatinfer-folders\.csv"):
        undo(target)
    (target / LIST).write_text("made\nx\n")
    with pytest.raises(OutputError, match=r"boatinfer-folders.csv is damaged"):
        undo(target)


def test_a_copy_that_was_edited_stays(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "classes"
    export(out, "folders", ExportOptions(output=target, link=Link.COPY))
    edited = target / "blue" / "000.jpg"
    edited.write_bytes(b"edited")
    assert "1 file changed since stay" in undo(target)
    assert edited.read_bytes() == b"edited"


def test_class_folders_are_taken_back_before_they_are_made_again(
    out: Path, pictures: Path, tmp_path: Path
) -> None:
    target = tmp_path / "classes"
    export(out, "folders", ExportOptions(output=target, link=Link.SYMLINK))
    again = ExportOptions(output=target, overwrite=True, link=Link.SYMLINK)
    with pytest.raises(UsageError, match="take them back first with --undo"):
        export(out, "folders", again)
    undo(target)
    (pictures / "blue" / "001.jpg").unlink()
    made = export(out, "folders", again)
    assert made == (14, ["Left out: 1 image that failed.", "Left out: 1 image now gone."])


def test_where_no_link_can_be_made_another_kind_is_named(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setitem(folders._MAKERS, Link.HARDLINK, refuse)
    with pytest.raises(UsageError, match=r"cannot have a hardlink of .* choose another --link"):
        export(out, "folders", ExportOptions(output=tmp_path / "classes"))
    assert not (tmp_path / "classes").exists()


def test_names_of_classes_become_names_of_folders() -> None:
    names: dict[str, str] = {}
    made = [
        folders._new_name(label, names) for label in ("a/b", "a:b", "A_B", "..", "con", "é", "x. ")
    ]
    assert made == ["a_b", "a_b_2", "A_B_3", "_", "con_", "é", "x_"]


def subjects(file: Path) -> list[str | None]:
    (subject,) = ElementTree.parse(file).iter(SUBJECT)
    return [item.text for item in subject.iter(f"{RDF}li")]


def test_sidecars(out: Path, pictures: Path, tmp_path: Path) -> None:
    before = content(pictures)
    target = tmp_path / "sidecars"
    assert export(out, "xmp", ExportOptions(output=target)).images == 15
    made = {
        file.relative_to(target).as_posix(): subjects(file)
        for file in target.rglob("*")
        if file.is_file()
    }
    assert made == {f"{path}.xmp": [label] for path, label in labels(out).items()}
    assert content(pictures) == before


def test_sidecars_beside_the_images_replace_only_our_own(
    night: Night, out: Path, pictures: Path
) -> None:
    other = pictures / "red" / "000.jpg.xmp"
    other.write_text("<x:xmpmeta>of darktable</x:xmpmeta>")
    beside = ExportOptions(output=pictures)
    left = "Left as they are: {}."
    assert export(out, "xmp", beside)[:1] == (14,)
    assert left.format("15 sidecars") in export(out, "xmp", beside).remarks
    again = export(out, "xmp", ExportOptions(output=pictures, overwrite=True))
    assert again.images == 14
    assert left.format("1 sidecar") in again.remarks
    assert "of darktable" in other.read_text()
    assert night(max_failures="9").found == 16  # sidecars are no images


def test_columns_that_later_versions_add_are_in_sidecars(out: Path, tmp_path: Path) -> None:
    file = out / "predictions.parquet"
    table = pq.read_table(file)
    table = table.append_column("novelty", pa.array([0.25] * table.num_rows))
    pq.write_table(table.append_column("a b", pa.array(["<"] * table.num_rows)), file)
    export(out, "xmp", ExportOptions(output=tmp_path / "sidecars"))
    (made, *_) = sorted((tmp_path / "sidecars").rglob("*.xmp"))
    (description,) = ElementTree.parse(made).iter(f"{RDF}Description")
    assert description.get("{urn:boatinfer:results:}novelty") == "0.2500"


def test_without_exiftool_no_image_is_touched(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match="--embed needs ExifTool, which is not installed"):
        export(out, "xmp", ExportOptions(output=tmp_path / "copies", embed=True))
    with pytest.raises(UsageError, match="--in-place needs ExifTool"):
        export(out, "xmp", ExportOptions(in_place=True))
    with pytest.raises(UsageError, match="leave out -o and --embed"):
        export(out, "xmp", ExportOptions(output=tmp_path / "copies", in_place=True))
    assert not (tmp_path / "copies").exists()


def ask(file: Path, query: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(file)
    found = database.execute(query).fetchall()
    database.close()
    return found


def test_a_database_has_a_row_an_image_and_the_nights_apart(
    night: Night, out: Path, pictures: Path, tmp_path: Path
) -> None:
    file = tmp_path / "results.db"
    assert export(out, "sqlite", ExportOptions(output=file)) == (16, [])
    found = dict(ask(file, "SELECT path, label FROM images WHERE status = 'ok'"))
    assert {from_text(path): label for path, label in found.items()} == labels(out)
    assert ask(file, "SELECT found, failed FROM images JOIN nights USING (run) GROUP BY run") == [
        (16, 1)
    ]
    with sqlite3.connect(file) as database:  # what others keep there stays
        database.execute("CREATE TABLE mine (path REFERENCES images, note)")
        database.execute("INSERT INTO mine VALUES ('red/000.jpg', 'lovely')")
        database.execute("ALTER TABLE images ADD COLUMN seen")
        database.execute("UPDATE images SET seen = 1")
    database.close()
    (pictures / "red" / "001.jpg").unlink()
    (pictures / "new.jpg").write_bytes(colours.picture("blue", seed=70))
    night(max_failures="9", min_confidence=0.1)  # one column more
    updated = export(out, "sqlite", ExportOptions(output=file))
    assert updated == (16, ["1 image of earlier nights are gone."])
    assert ask(file, "SELECT count(*), sum(present), sum(seen) FROM images") == [(17, 16, 16)]
    assert ask(file, "SELECT path FROM images WHERE NOT present") == [("red/001.jpg",)]
    assert ask(file, "SELECT label, guess FROM images WHERE path = 'new.jpg'") == [("blue",) * 2]
    assert ask(file, "SELECT count(*) FROM nights") == [(2,)]
    assert ask(file, "SELECT note FROM mine JOIN images USING (path)") == [("lovely",)]
    assert ask(file, "PRAGMA foreign_key_check(images)") == []
    assert ask(file, "PRAGMA integrity_check") == [("ok",)]


def test_only_a_database_of_the_same_results_is_updated(
    night: Night, out: Path, pictures: Path, tmp_path: Path
) -> None:
    file = tmp_path / "results.db"
    file.write_text("mine")
    with pytest.raises(UsageError, match=r"boatinfer has not made it; .* or --overwrite"):
        export(out, "sqlite", ExportOptions(output=file))
    assert file.read_text() == "mine"
    export(out, "sqlite", ExportOptions(output=file, overwrite=True))
    shutil.copytree(pictures / "red", tmp_path / "others")
    night(folder=tmp_path / "others", out=tmp_path / "other")
    before = file.read_bytes()
    with pytest.raises(UsageError, match=r"holds the results of .*pictures, not of .*others"):
        export(tmp_path / "other", "sqlite", ExportOptions(output=file))
    assert file.read_bytes() == before


def test_an_update_that_fails_changes_nothing(
    night: Night, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "results.db"
    export(out, "sqlite", ExportOptions(output=file))
    database = sqlite3.connect(file)
    before = list(database.iterdump())
    night(max_failures="9", min_confidence=0.1)  # one column and one night more
    batches = ResultsReader.batches

    def broken(self: ResultsReader, columns: list[str]) -> Iterator[pa.Table]:
        for batch in batches(self, columns, rows=5):
            yield batch
            if batch["path"][0].as_py() != "=1 é&.jpg":
                raise KeyboardInterrupt

    monkeypatch.setattr(ResultsReader, "batches", broken)
    with pytest.raises(KeyboardInterrupt):
        export(out, "sqlite", ExportOptions(output=file))
    assert list(database.iterdump()) == before
    database.close()


def test_a_database_in_use_is_one_sentence_and_stays(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "results.db"
    export(out, "sqlite", ExportOptions(output=file))
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path: connect(path, timeout=0))
    holder = connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OutputError, match=r"could not be written \(database is locked\)"):
        export(out, "sqlite", ExportOptions(output=file))
    holder.close()
    assert ask(file, "SELECT count(*) FROM images") == [(16,)]


@pytest.mark.skipif(sys.platform != "linux", reason="names there are text")
def test_names_that_are_no_text_find_their_files(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(os.fsencode(pictures) + b"/odd\xff.jpg"))
    odd.write_bytes(colours.picture("red", seed=90))
    night()
    made = export(tmp_path / "out", "folders", ExportOptions(output=tmp_path / "classes"))
    assert made.images == 13
    assert (tmp_path / "classes" / "red" / odd.name).samefile(odd)
    undo(tmp_path / "classes")
    assert not (tmp_path / "classes").exists()
    assert odd.exists()
    for name in ("megadetector", "coco", "label-studio", "fiftyone", "xmp"):
        output = tmp_path / f"{name}.json"
        assert export(tmp_path / "out", name, ExportOptions(output=output)).images == 13

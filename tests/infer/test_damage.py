"""What is damaged in a results folder is named by who reads it, and healed by the next run."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import colours
from boatinfer.errors import OutputError, UsageError
from boatinfer.pages.report import make_report
from boatinfer.pipeline.merge_shards import finish
from boatinfer.results import integrity as damages
from boatinfer.results import published_tables
from boatinfer.results.folder import Results
from boatinfer.results.integrity import find_damage
from boatinfer.results.status import folder_status
from boatinfer.results.store.parts import PartError, Parts
from boatinfer.results.summary import Summary
from boatinfer.results.tables import csv_files
from boatinfer.storage.base import Place
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.errors import StoreError
from support import Command, counts, outcomes

Night = Callable[..., Summary]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The results folder of `night`."""
    return tmp_path / "out"


def spoil(part: Place, column: str | None = None) -> bytes:
    """Changes a byte of a column's values, or cuts the part off; gives what is left."""
    content = bytearray(part.read_bytes())
    if column is None:
        content = content[:-40]
    else:
        group = pq.read_metadata(io.BytesIO(content)).row_group(0)
        chunks = [group.column(number) for number in range(group.num_columns)]
        (chunk,) = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] == column]
        content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 255
    part.write_bytes(bytes(content))
    return bytes(content)


# It is noticed in the index, where contents are looked up, and when the tables are made.
@pytest.mark.parametrize("column", [None, "path", "content", "probabilities"])
def test_a_night_sets_a_damaged_part_aside_and_does_its_images_anew(
    night: Night, pictures: Path, tmp_path: Path, out: Path, column: str | None
) -> None:
    night()
    (part,) = (out / "parts").iterdir()
    left = spoil(part, column)
    (pictures / "new.jpg").write_bytes(colours.picture("blue", seed=50))
    summary = night()
    assert (counts(summary), summary.exit_code) == ((13, 13, 0, 0), 0)
    assert (out / "parts" / f"{part.name}.damaged").read_bytes() == left
    (remark,) = summary.remarks
    assert part.name in remark
    for page in (out / "report.html", make_report(out)):
        assert remark in page.read_text()
    assert part.name in folder_status(Results(out))["damaged"]
    assert not list(find_damage(Results(out)))
    again = night()
    assert (counts(again), again.remarks) == ((13, 0, 13, 0), [])
    night(out=tmp_path / "undisturbed")
    for name in ("predictions.csv", "failures.csv"):
        assert outcomes(out, name) == outcomes(tmp_path / "undisturbed", name)


def test_a_run_that_is_killed_when_a_part_is_set_aside_loses_nothing(
    night: Night, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    (part,) = (out / "parts").iterdir()
    spoil(part)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killing:
        killing.setattr("boatinfer.pipeline.run.plan.current", killed)
        with pytest.raises(KeyboardInterrupt):
            night()
    assert not part.exists()
    assert counts(night()) == (12, 0, 12, 0)  # the killed run had recorded them
    assert not list(find_damage(Results(out)))


def test_whole_parts_keep_their_rows_and_a_word_on_the_terminal_tells_of_the_other(
    boatinfer: Command, night: Night, pictures: Path, out: Path, model_file: Path
) -> None:
    night()
    (pictures / "new.jpg").write_bytes(colours.picture("blue", seed=50))
    night()
    _, second = sorted((out / "parts").iterdir())
    spoil(second)
    done = boatinfer("run", pictures, "-o", out, "-m", model_file)
    assert (done.code, done.err) == (0, "")
    assert "13 images found = 1 classified + 12 reused" in done.out
    assert f"{second.name} was damaged: it was set aside" in done.out


def test_readers_name_the_damage_and_touch_nothing(
    boatinfer: Command, night: Night, out: Path
) -> None:
    night(features=True)
    (part,) = (out / "parts").iterdir()
    spoil(part)
    for command, *rest in [("evaluate",), ("features", "-o", out.parent / "x.npz")]:
        done = boatinfer(command, out, *rest)
        assert (done.code, done.err.count("\n"), part.name in done.err) == (7, 1, True)
    assert [one.name for one in (out / "parts").iterdir()] == [part.name]


def test_a_part_that_is_whole_is_never_set_aside(
    night: Night, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    (part,) = (out / "parts").iterdir()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ETIMEDOUT, "timed out")

    with monkeypatch.context() as failing:
        failing.setattr("boatinfer.results.store.parts.pq.ParquetFile", fail)
        with pytest.raises(PartError, match="timed out"):
            night()
    assert list((out / "parts").iterdir()) == [part]
    assert night().reused == 12


@pytest.mark.parametrize(
    ("error", "aside"),
    [
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (StoreError(errno.EIO, "SlowDown", "s3://boats/out"), False),
    ],
)
def test_what_the_disk_has_lost_is_set_aside_and_what_is_refused_is_not(
    night: Night, out: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, aside: bool
) -> None:
    night()
    parts = Results(out).parts
    (part,) = parts.files()

    def refuse(_: object) -> bool:
        raise error

    monkeypatch.setattr(damages, "is_intact", refuse)
    assert damages.set_aside(parts, part) is aside
    assert part.exists() is not aside


def test_a_list_that_cannot_be_read_twice_ends_the_run_but_not_the_next(
    night: Night, pictures: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    (part,) = (out / "parts").iterdir()
    spoil(part)
    names = "\n".join(str(path) for path in pictures.rglob("*.jpg")).encode()

    def from_standard_input() -> Summary:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(names)))
        return night(from_file=Path("-"))

    with pytest.raises(OutputError, match="set aside; run again, for the list on the standard"):
        from_standard_input()
    assert counts(from_standard_input()) == (12, 12, 0, 0)


def test_shards_set_a_part_of_all_aside_and_the_end_says_so(night: Night, out: Path) -> None:
    night()
    (part,) = (out / "parts").iterdir()
    spoil(part)
    shards = [night(shard=f"{number}/2") for number in (1, 2)]
    assert [bool(shard.remarks) for shard in shards] == [True, False]  # one was faster
    summary = finish(out)
    assert (counts(summary), summary.remarks) == ((12, 12, 0, 0), shards[0].remarks)
    assert not list(find_damage(Results(out)))


def test_a_part_in_a_bucket_is_set_aside(night: Night, bucket: str) -> None:
    far = BucketPath.parse(f"s3://{bucket}/out")
    night(out=far)
    (part,) = (far / "parts").iterdir()
    spoil(part)
    assert counts(night(out=far)) == (12, 12, 0, 0)
    assert sorted(one.suffix for one in (far / "parts").iterdir()) == [".damaged", ".parquet"]


@pytest.mark.parametrize("name", ["predictions.csv", "failures.csv", "review.csv"])
def test_a_table_that_is_not_as_it_was_written_is_named(
    boatinfer: Command, night: Night, out: Path, pictures: Path, name: str
) -> None:
    (pictures / "bad.jpg").write_text("hello")
    options = {"min_confidence": 0.99, "max_failures": "1"}
    table = out / name
    spoilers: list[Callable[[], object]] = [
        lambda: table.write_text(table.read_text().replace("a", "b", 1)),
        lambda: table.write_text(""),
        table.unlink,
    ]
    for change in spoilers:
        night(**options)
        assert boatinfer("results", out, "--verify").code == 0
        change()
        done = boatinfer("results", out, "--verify")
        assert (done.code, done.out, done.err.count("\n")) == (7, "", 1)
        assert f"{table} is not as the last complete run wrote it" in done.err


@pytest.mark.parametrize("then", ["goes on", "has ended"])
def test_tables_that_a_run_writes_meanwhile_are_not_damaged(
    night: Night, out: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """It may go on when they have been read, or have ended since they were looked for."""
    night()
    (pictures / "new.jpg").write_bytes(colours.picture("blue", seed=50))
    results = Results(out)
    if then == "goes on":
        written = published_tables.write_tables
        found: list[str] = []

        def look(*arguments: Any) -> Summary:
            summary = written(*arguments)
            found.extend(find_damage(results))
            return summary

        monkeypatch.setattr(published_tables, "write_tables", look)
        night()
        assert found == []
    else:
        digest, name = csv_files.csv_digest, "boatinfer.results.integrity.csv_digest"

        def late(path: Place) -> str:
            monkeypatch.setattr(name, digest)
            night()
            return digest(path)

        monkeypatch.setattr(name, late)
        assert not list(find_damage(results))


@pytest.mark.parametrize("left", ["", "{"])
def test_a_damaged_summary_stops_no_night(
    boatinfer: Command, night: Night, pictures: Path, out: Path, left: str
) -> None:
    night()
    (out / "run.json").write_text(left)
    assert boatinfer("results", out).code == 7
    elsewhere = pictures.parent / "elsewhere"
    colours.write_pictures(elsewhere, each=1)
    with pytest.raises(UsageError, match=f"holds the results of {pictures}, not of {elsewhere}"):
        night(folder=elsewhere)
    assert counts(night()) == (12, 0, 12, 0)
    assert not list(find_damage(Results(out)))


def test_a_part_that_a_run_removes_while_it_is_counted(
    night: Night, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()

    def merge(parts: Parts) -> list[Place]:
        for part in parts.files():
            part.unlink()
        return []

    monkeypatch.setattr("boatinfer.results.status.parts_set_aside", merge)
    with pytest.raises(PartError, match="has gone: a run is changing the folder"):
        folder_status(Results(out))


def test_the_tables_of_shards_are_verified_too(night: Night, out: Path) -> None:
    for number in (1, 2):
        night(shard=f"{number}/2")
    finish(out)
    assert not list(find_damage(Results(out)))
    (out / "predictions.csv").write_text("")
    (sentence,) = find_damage(Results(out))
    assert "predictions.csv is not as" in sentence


def test_a_review_of_an_earlier_run_is_none_of_this_one(night: Night, out: Path) -> None:
    night(min_confidence=0.9)
    night()
    assert not (out / "review.csv").exists()
    assert not list(find_damage(Results(out)))


def test_a_folder_that_may_not_be_changed_says_so(
    night: Night, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    (part,) = (out / "parts").iterdir()
    spoil(part)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="could not be written: Permission denied"):
        night()


@pytest.mark.parametrize("column", ["second_label", "second_confidence", "svm_score"])
def test_a_table_that_lost_a_column_makes_no_page(
    boatinfer: Command, night: Night, out: Path, column: str
) -> None:
    night(top=2)
    table = out / "predictions.csv"
    head, _, rows = table.read_text().partition("\n")
    damaged = f"{head},svm_label" if column == "svm_score" else head.replace(column, "other")
    rows = rows.replace("\n", ",red\n") if column == "svm_score" else rows
    table.write_text(f"{damaged}\n{rows}")
    done = boatinfer("report", out)
    assert (done.code, done.err.count("\n")) == (7, 1)
    assert f"{table} lacks columns of" in done.err

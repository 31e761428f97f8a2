"""The tables of people around a review: the list of ``--list``, and labels.csv as a truth."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import colours
from boatinfer.analysis.evaluate import evaluate
from boatinfer.analysis.options import EvaluateOptions
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.folder import Results
from boatinfer.results.labels import LABELS, RANDOM, Answer, LabelFile, is_label_file
from boatinfer.review.candidates import read_candidates
from boatinfer.review.command import _listed
from support import Command

DAYS = ("20260401", "20260402")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over images of two days, and one with a name that tables escape."""
    folder = tmp_path_factory.mktemp("listed")
    for day in DAYS:
        colours.write_pictures(folder / "in" / day, each=3)
    (folder / "in" / "=cmd.jpg").write_bytes(colours.picture("red", 50))
    run(RunOptions(folder / "in", folder / "out", colours.write_model(folder / "m.onnx")))
    return folder / "out"


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_list_is_read_as_other_tables_are(out: Path, tmp_path: Path, mark: str) -> None:
    results = Results(out)
    candidates = read_candidates(results, results.last_finished(), True)
    one, two = "=cmd.jpg", candidates.path(0)
    lines = [f"score{mark}path", f"1{mark}./{one}", f"2{mark}{out.parent}/in/{two}"]
    file = tmp_path / "list.csv"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, ""]).encode())
    assert _listed(file, candidates).to_pylist() == [one, two]


def test_a_list_of_other_images_is_refused(boatinfer: Command, out: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\nx/1.jpg\n")
    done = boatinfer("review", out, "--list", tmp_path / "list.csv")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "lists none of the 19 images to review" in done.err


def _of_days(out: Path) -> list[str]:
    """The paths that have a day."""
    paths = pq.read_table(out / "predictions.parquet")["path"].to_pylist()
    return [path for path in paths if path.startswith(DAYS)]


def test_a_corrected_review_is_evaluated_by_day(out: Path) -> None:
    results = Results(out)
    images = _of_days(out)
    rows = results.current().sort_by("path")
    (table,) = results.parts.read(rows, ["path", "content"])
    contents = dict(zip(table["path"].to_pylist(), table["content"].to_pylist(), strict=True))
    file = LabelFile(out)
    for label in ("blue", "red"):  # the second is a correction
        file.append([Answer(path, contents[path], label, reason=RANDOM) for path in images])
    found = evaluate(EvaluateOptions(out, labels=out / LABELS, by="day"))
    assert found.groups is not None
    assert list(found.groups.groups) == ["2026-04-01", "2026-04-02"]
    file.path.unlink()


def test_only_a_column_that_is_asked_for_is_read(out: Path, tmp_path: Path) -> None:
    images = _of_days(out)
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(["path,label,split", *(f"{path},red,old" for path in images), ""]))
    found = evaluate(EvaluateOptions(out, labels=file, by="day"))
    assert found.groups is not None
    assert len(found.groups.groups) == 2


@pytest.mark.parametrize(
    ("header", "answers"),
    [
        ("path,content,label,by,when,shown_label,model,reason", True),
        ("reason;when;by;label;content;path", True),
        ("path,content,label", False),
        ("path,label,split,group,content,reason", False),
    ],
)
def test_a_table_of_answers_is_known_by_who_when_and_why(
    tmp_path: Path, header: str, answers: bool
) -> None:
    (tmp_path / "x.csv").write_text(f"{header}\n")
    assert is_label_file(tmp_path / "x.csv") is answers

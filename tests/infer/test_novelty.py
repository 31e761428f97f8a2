"""Images unlike anything in training, from the model to the page."""

from __future__ import annotations

import hashlib
import html
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from onnx import helper
from PIL import Image

import colours
import novel
from boatinfer import images
from boatinfer.analysis.evaluate import evaluate
from boatinfer.analysis.options import EvaluateOptions
from boatinfer.analysis.rejection import auroc, let_through
from boatinfer.analysis.unusual import find_unusual
from boatinfer.errors import ModelError, UsageError
from boatinfer.i18n import Choice, language_of
from boatinfer.models.card import CARD_KEY, GOLDEN_KEY, encode
from boatinfer.models.model import open_model
from boatinfer.pipeline.merge_shards import finish
from boatinfer.results.mix import Mix
from boatinfer.results.summary import Summary, Unusual
from boatinfer.results.unusual_text import unusual_in_words
from support import Command, rows

Night = Callable[..., Summary]


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """The classifier of colours with a novelty output."""
    return novel.write_model(tmp_path / "novel.onnx")


@pytest.fixture
def grey(pictures: Path) -> Path:
    """A grey picture among the colours."""
    return _grey(pictures / "red" / "grey.png")


def _grey(path: Path, level: int = 90) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (80, 40), (level, level, level)).save(path)
    return path


def _row(out: Path, path: str) -> dict[str, str]:
    return next(row for row in rows(out) if row["path"] == path)


def test_it_is_labelled_unknown_with_the_guess_beside(
    night: Night, tmp_path: Path, grey: Path
) -> None:
    summary = night()
    row = _row(tmp_path / "out", "red/grey.png")
    assert row["label"] == "unknown"
    assert row["guess"] in colours.CLASSES
    assert float(row["novelty"]) == 1
    assert list(row)[-2:] == ["novelty", "guess"]
    others = [its for its in rows(tmp_path / "out") if its["label"] != "unknown"]
    assert len(others) == 12
    assert all(its["label"] == its["guess"] for its in others)
    assert (summary.unknown, summary.unsure, summary.max_novelty) == (1, 0, 0.9)
    assert summary.labels["unknown"] == 1
    reviewed = rows(tmp_path / "out", "review.csv")
    assert [row["path"] for row in reviewed] == ["red/grey.png"]
    page = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert f"unlike training; the network's guess: {row['guess']} " in page
    assert "images, unsure and unknown ones by the class that the network predicts." in page


def test_the_novelty_is_that_of_the_network(night: Night, tmp_path: Path, pictures: Path) -> None:
    night()
    for row in rows(tmp_path / "out"):
        expected = novel.novelty(images.read((pictures / row["path"]).read_bytes(), colours.SPEC))
        assert float(row["novelty"]) == pytest.approx(expected, abs=1e-4)
    whole = polars.read_parquet(tmp_path / "out" / "predictions.parquet")
    parts = polars.read_parquet(tmp_path / "out" / "parts" / "*.parquet")
    assert whole["novelty"].to_list() == parts.sort("path")["novelty"].to_list()
    assert parts["novelty"].dtype == polars.Float32


@pytest.mark.parametrize(("limit", "unknown"), [(1.0, 0), (0.0, 13), (None, 1)])
def test_the_limit_is_that_of_the_option_or_of_the_card(
    limit: float | None, unknown: int, night: Night, tmp_path: Path, grey: Path
) -> None:
    assert night(max_novelty=limit).unknown == unknown
    columns = rows(tmp_path / "out")[0]
    assert ("guess" in columns) == (limit != 1)
    assert "novelty" in columns


def test_unknown_comes_before_unsure(night: Night, tmp_path: Path, grey: Path) -> None:
    summary = night(min_confidence=1.0)
    assert (summary.unknown, summary.unsure) == (1, 12)
    row = _row(tmp_path / "out", "red/grey.png")
    assert row["label"] == "unknown"
    assert list(row).index("guess") == list(row).index("status") + 1


def test_a_model_without_novelty(night: Night, tmp_path: Path) -> None:
    plain = colours.write_model(tmp_path / "plain.onnx")
    assert night(model=plain).max_novelty is None
    assert "novelty" not in rows(tmp_path / "out")[0]
    with pytest.raises(UsageError, match="boatinfer model know"):
        night(model=plain, max_novelty=0.9)


def test_rows_from_before_the_output_are_reused_without_a_novelty(
    night: Night, tmp_path: Path, pictures: Path
) -> None:
    plain = colours.write_model(tmp_path / "plain.onnx")
    night(model=plain)
    network = hashlib.sha256(plain.read_bytes()).hexdigest()
    known = novel.write_model(tmp_path / "known.onnx", network)
    _grey(pictures / "new.png")
    (pictures / "copy.jpg").write_bytes((pictures / "red" / "000.jpg").read_bytes())
    summary = night(model=known)
    assert (summary.classified, summary.reused) == (1, 13)  # a copy counts as reused
    novelties = {row["path"]: row["novelty"] for row in rows(tmp_path / "out")}
    assert {path for path, value in novelties.items() if value} == {"new.png"}
    assert night(model=known, fresh=True).classified == 14
    assert all(row["novelty"] for row in rows(tmp_path / "out"))


def test_a_copy_has_the_novelty_of_its_original(night: Night, tmp_path: Path, grey: Path) -> None:
    night()
    (grey.parent.parent / "copy.png").write_bytes(grey.read_bytes())
    night()
    assert _row(tmp_path / "out", "copy.png")["label"] == "unknown"


def test_shards_find_the_same(night: Night, tmp_path: Path, grey: Path) -> None:
    night(out=tmp_path / "whole", max_novelty=0.5)
    for shard in ("1/2", "2/2"):
        night(shard=shard, max_novelty=0.5)
    summary = finish(tmp_path / "out")
    columns = ("path", "label", "guess", "novelty")
    whole, merged = (
        [[row[name] for name in columns] for row in rows(tmp_path / name)]
        for name in ("whole", "out")
    )
    assert merged == whole
    assert summary.max_novelty == 0.5
    assert summary.unknown > 0


def test_the_page_shows_them_first(night: Night, tmp_path: Path, grey: Path) -> None:
    night(min_confidence=0.4)
    page = (tmp_path / "out" / "report.html").read_text()
    heading = page.index("Unlike anything in training: 1")
    assert page.index('id="review"') < heading < page.index(">Unsure")
    assert "grey.png" in page[heading : page.index(">Unsure")]
    assert "1 to check" in page


def test_the_terminal_counts_them(
    boatinfer: Command, pictures: Path, grey: Path, model_file: Path, tmp_path: Path
) -> None:
    done = boatinfer("run", pictures, "-o", tmp_path / "out", "-m", model_file)
    assert "1  unknown: novelty above 0.9\n" in done.out
    assert "review.csv" in done.out


def test_a_drift_of_novelty_is_unusual() -> None:
    random = np.random.default_rng(0)

    def night(number: int, power: float) -> Summary:
        values = random.uniform(size=200) ** power
        confident = np.full(200, 0.93)
        mix = Mix.from_batches([({"a": 200}, {"a": 200}, confident)]).with_novelty([values])
        name = f"202604{number + 1:02}T000000.000000Z"
        return Summary(run=name, folder="f", started=name, model="m", complete=True, new=mix)

    earlier = [night(number, 1) for number in range(10, 0, -1)]
    assert find_unusual(night(11, 1), earlier) == []
    (found,) = find_unusual(night(11, 0.3), earlier)
    assert found.kind == "novelty"
    assert found.now["mean"] > found.usual["mean"]
    assert "not as like those of training as usual: mean novelty" in found.text
    (found,) = find_unusual(night(11, 3), earlier)
    assert found.now["mean"] < found.usual["mean"]
    assert "more like those of training than usual: mean novelty" in found.text
    without = [replace(run, new=replace(run.new or Mix(), novelties=[])) for run in earlier]
    assert find_unusual(night(11, 0.3), without) == []


@pytest.mark.parametrize("language", sorted({*Choice} - {"auto"}))
def test_a_drift_of_novelty_says_which_way(language: str) -> None:
    said = [
        unusual_in_words(
            Unusual("novelty", "", now={"mean": mean}, usual={"mean": 0.5}), language_of(language)
        )
        for mean in (0.3, 0.495, 0.505, 0.7)
    ]
    shapes = ["".join(c for c in sentence if not c.isdigit()) for sentence in said]
    assert shapes[1] == shapes[2]
    assert len(set(shapes)) == 3


def test_a_wrong_golden_novelty_is_found(model_file: Path) -> None:
    model = open_model(model_file)
    wrong = [replace(one, novelty=0.1) for one in model.golden.images]
    graph = onnx.load(model_file)
    metadata = {
        CARD_KEY: encode(model.card),
        GOLDEN_KEY: encode(replace(model.golden, images=wrong)),
    }
    del graph.metadata_props[:]
    helper.set_model_props(graph, metadata)
    with pytest.raises(ModelError, match="novelty differ by"):
        open_model(colours.save(graph, model_file))


def test_evaluation_scores_the_rejection(
    night: Night, tmp_path: Path, pictures: Path, boatinfer: Command
) -> None:
    night()
    foreign = tmp_path / "foreign"
    for level in (10, 100, 200):
        _grey(foreign / f"{level}.png", level)
    (foreign / "text.png").write_text("no image")
    found = evaluate(EvaluateOptions(tmp_path / "out", foreign=foreign)).rejection
    assert found is not None
    assert (found.known, found.foreign) == (12, 3)
    assert found.figures["novelty"] == (1.0, 0.0)
    assert found.unknown == {"known": 0.0, "foreign": 1.0}
    done = boatinfer("evaluate", tmp_path / "out", "--foreign", foreign, "--json")
    assert json.loads(done.out)["rejection"]["novelty"] == {"auroc": 1.0, "let_through": 0.0}
    assert evaluate(EvaluateOptions(tmp_path / "out")).rejection is None
    _grey(pictures / "zeppelin" / "a.png")  # of a class that the model does not have
    night()
    found = evaluate(EvaluateOptions(tmp_path / "out")).rejection
    assert found is not None
    assert found.foreign == 1


def test_evaluation_needs_the_model_and_images(
    night: Night, tmp_path: Path, model_file: Path
) -> None:
    night()
    (tmp_path / "empty").mkdir()
    options = EvaluateOptions(tmp_path / "out", foreign=tmp_path / "empty")
    with pytest.raises(UsageError, match="holds no image"):
        evaluate(options)
    colours.write_model(model_file)
    with pytest.raises(UsageError, match="is another one now"):
        evaluate(options)
    model_file.unlink()
    with pytest.raises(UsageError, match="needs the model of the run"):
        evaluate(options)


_VALUES = st.lists(st.floats(-4, 4).map(lambda value: round(value, 1)), min_size=1, max_size=12)


@given(_VALUES, _VALUES)
def test_the_area_counts_pairs(known: list[float], foreign: list[float]) -> None:
    pairs = [(a < b) + (a == b) / 2 for a in known for b in foreign]
    assert auroc(np.array(known), np.array(foreign)) == pytest.approx(np.mean(pairs))
    through = let_through(np.array(known), np.array(foreign))
    assert through == np.mean(np.array(foreign) <= np.quantile(known, 0.95))


def test_predict_says_it(model_file: Path) -> None:
    picture = np.array(Image.open(io.BytesIO(colours.picture("red", seed=1))).convert("RGB"))
    found = open_model(model_file).predict([picture, np.full((9, 9, 3), 70, np.uint8)])
    assert found.novelty is not None
    assert found.novelty[0] < 0.9 < found.novelty[1]


def test_the_built_in_model_tells_a_chessboard_from_boats() -> None:
    model: Any = open_model(None, "cpu")
    squares = np.kron(np.indices((6, 20)).sum(axis=0) % 2, np.ones((40, 40)))
    board = np.repeat(squares[None, ..., None] * 255, 3, axis=3).astype(np.uint8)
    assert model.card.novelty.method in model.card.novelty.figures
    assert (model.predict(board).novelty > model.card.novelty.max_novelty).all()

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import colours
import networks
from boatexport import cli, comparison, plan, precision
from boatexport.adding import add_outputs
from boatexport.exporting import export_model
from boatexport.foreign.describing import describe_model
from boatexport.novelty import fitting
from boatexport.novelty.methods import METHODS, Measured, scores
from boatexport.novelty.pictures import KINDS, made_pictures
from boatexport.options import DescribeOptions, ExportOptions, KnowOptions, QuantizeOptions
from boatinfer import images
from boatinfer.errors import UsageError
from boatinfer.models.model import open_model
from support import Trained


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey pictures, which are of none of the colours."""
    folder = tmp_path_factory.mktemp("foreign")
    for level in range(20, 240, 20):
        Image.new("RGB", (80, 40), (level, level, level)).save(folder / f"{level}.png")
    return folder


@pytest.fixture
def known(network: Path, pictures: Path, foreign: Path, tmp_path: Path) -> Path:
    """The network of convolutions, with novelty."""
    options = KnowOptions(network, tmp_path / "known.onnx", train=pictures, foreign=foreign)
    return add_outputs(options).path


def _pixels(folder: Path) -> Any:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".png"})
    return np.stack([images.read(path.read_bytes(), colours.SPEC) for path in paths])


def test_foreign_pictures_are_more_novel_than_training_images(
    known: Path, network: Path, pictures: Path, foreign: Path
) -> None:
    model, before = open_model(known), open_model(network)
    inside, outside = (model.infer(_pixels(folder)).novelty for folder in (pictures, foreign))
    assert inside is not None and outside is not None
    assert 0 <= inside.min() < inside.max() <= 1
    assert 0.3 < np.median(inside) < 0.7
    assert np.median(outside) > 0.95
    assert model.digest == before.digest
    again = before.infer(_pixels(pictures)), model.infer(_pixels(pictures))
    for first, second in zip(*again, strict=True):
        assert first is None or second is None or np.array_equal(first, second)


def test_the_card_has_the_figures_and_the_best_is_chosen(known: Path) -> None:
    novelty = open_model(known).card.novelty
    assert novelty is not None
    assert novelty.images == {"train": 96, "valid": 24}
    assert novelty.figures.keys() == METHODS.keys()
    for figures in novelty.figures.values():
        assert list(figures) == [*KINDS, "photographs", "classes left out"]
    means = {
        name: np.mean([one.auroc for one in its.values()]) for name, its in novelty.figures.items()
    }
    assert means[novelty.method] == max(means.values())


@pytest.mark.parametrize(("kind", "allowed"), [("float16", 0.02), ("int8", 1.0), ("int8", -1.0)])
def test_a_converted_model_has_novelty_unless_more_would_be_unknown(
    kind: Any, allowed: float, known: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_TIMING_SECONDS", 0)
    monkeypatch.setattr(plan, "CALIBRATION_IMAGES", 12)
    monkeypatch.setattr(precision, "_MAX_MORE_UNKNOWN", allowed)
    calibrate = pictures if kind == "int8" else None
    options = QuantizeOptions(known, None, calibrate, pictures, precision=kind)
    said: list[str] = []
    precision.quantize(options, said.append, lambda _: None)
    converted, original = open_model(options.onnx_file), open_model(known)
    assert any("novelty is left out" in line for line in said) == (allowed < 0)
    if allowed < 0:
        assert converted.card.novelty is None
        again = KnowOptions(options.onnx_file, known.with_name("again.onnx"), train=pictures)
        converted = open_model(add_outputs(again).path)
    assert converted.card.novelty is not None
    pixels = _pixels(pictures)
    theirs = converted.infer(pixels).novelty
    assert theirs is not None
    if allowed < 1:  # int8 moves the features of this network far
        assert (theirs > converted.card.novelty.max_novelty).mean() < 0.05
    assert converted.digest != original.digest


def test_the_export_adds_it(trained: Trained, pictures: Path, tmp_path: Path) -> None:
    options = ExportOptions(trained.output, tmp_path / "small.onnx", train=pictures)
    model = open_model(export_model(options).path)
    assert model.card.novelty is not None
    assert model.card.network is None
    assert all(golden.novelty is not None for golden in model.golden.images)


def test_a_model_made_elsewhere(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = networks.save(networks.torch_layout(), tmp_path / "net.onnx")
    names = ",".join(networks.CLASSES)
    described = describe_model(
        DescribeOptions(plain, tmp_path / "x.onnx", pictures, names, scale="1/255", features="flat")
    ).path
    cli._know(KnowOptions(described, tmp_path / "y.onnx", train=pictures))
    assert "chosen" in capsys.readouterr().out
    model = open_model(tmp_path / "y.onnx")
    assert model.card.novelty is not None
    assert model.digest == open_model(described).digest


def test_what_cannot_be_done(network: Path, known: Path, pictures: Path, tmp_path: Path) -> None:
    def refused(match: str, model: Path = network, **options: Any) -> None:
        with pytest.raises(UsageError, match=match):
            add_outputs(KnowOptions(model, tmp_path / "no.onnx", **options))
        assert not (tmp_path / "no.onnx").exists()

    (tmp_path / "empty").mkdir()
    refused("which needs --train", foreign=pictures)
    refused("--foreign .* holds no images", train=pictures, foreign=tmp_path / "empty")
    refused("--train", train=tmp_path / "empty")
    refused("has a novelty output", model=known, train=pictures)


_SCORES = st.lists(st.floats(-100, 100, width=16), min_size=2, max_size=300)


@given(_SCORES, _SCORES)
def test_the_table_gives_shares_of_valid_images(known: list[float], others: list[float]) -> None:
    values = np.array(known, np.float32)
    starts, widths, weights = fitting._table(values)

    def novelty(score: Any) -> Any:
        return (((np.asarray(score)[:, None] - starts) / widths).clip(0, 1) * weights).sum(axis=1)

    assert (widths > 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    found = novelty(np.sort(others))
    assert (np.diff(found) >= -1e-6).all()
    assert -1e-6 <= found.min() <= found.max() <= 1 + 1e-5
    if len(np.unique(values)) == len(values):
        shares = (values[None] < np.sort(values)[:, None]).mean(axis=1)
        assert np.abs(novelty(np.sort(values)) - shares).max() < 2 / len(values) + 2 / 128


def test_mahalanobis_and_knn_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 50)
    features = (random.normal(size=(150, 6)) + 4 * labels[:, None]).astype(np.float32)
    train = Measured(features, random.normal(size=(150, 3)).astype(np.float32), labels)
    means = np.stack([features[labels == label].mean(axis=0) for label in range(3)])
    centred = features - means[labels]
    covariance = centred.T @ centred / 149
    shrunk = covariance + 0.01 * np.trace(covariance) / 6 * np.eye(6)
    between = features[:, None] - means
    squares = np.einsum("ncd,de,nce->nc", between, np.linalg.inv(shrunk), between)
    found = scores(METHODS["mahalanobis"](train), train)
    assert found == pytest.approx(np.sqrt(squares.min(axis=1)), rel=1e-2)
    assert scores(METHODS["knn"](train), train) == pytest.approx(-np.ones(150), abs=1e-5)


def test_made_pictures_are_always_the_same(pictures: Path) -> None:
    train = _pixels(pictures)[:10]
    first, second = (dict(made_pictures(train, colours.SPEC)) for _ in range(2))
    assert first.keys() == KINDS.keys()
    for kind, pixels in first.items():
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == train.shape[1:]
        assert np.array_equal(pixels, second[kind])
        assert len(np.unique(pixels.reshape(len(pixels), -1), axis=0)) > 1

"""Where the network looked, on the page of a run."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from boatinfer.images.geometry import fit_image
from boatinfer.images.spec import ImageSpec
from boatinfer.models.built_in import BUILT_IN
from boatinfer.models.model import Model
from boatinfer.pages.heat_maps import region, shade
from boatinfer.pages.report import make_report
from boatinfer.results.summary import Summary


def test_the_shade_is_clear_where_the_class_was_seen() -> None:
    activation = np.array([[0, 2, -5], [1, 4, 0]], np.float32)
    picture = Image.open(io.BytesIO(shade(activation)))
    grey, alpha = (np.asarray(band) for band in picture.convert("LA").split())
    assert not grey.any()
    assert alpha[1, 1] == 0
    assert alpha[0, 0] == alpha[0, 2] == alpha.max() < 255
    assert alpha[1, 0] > alpha[0, 1] > 0
    flat = np.asarray(Image.open(io.BytesIO(shade(np.zeros((2, 3), np.float32)))))
    assert (flat[..., 1] == alpha.max()).all()


@pytest.mark.parametrize(
    ("fit", "expected"),
    [("stretch", (0, 0, 200, 100)), ("crop", (50, 0, 100, 100)), ("pad", (0, -50, 200, 200))],
)
def test_the_region_that_the_network_sees(fit: str, expected: tuple[float, ...]) -> None:
    spec = ImageSpec(height=64, width=64, fit=fit)  # type: ignore[arg-type]
    assert region(200, 100, spec) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (0, 0, 200, 200)),
        ({"resize_to": (32, 32)}, (0, 0, 400, 400)),
        ({"fit": "crop", "shorter_side": 48}, (33.33, 0, 133.33, 133.33)),
        ({"fit": "crop", "shorter_side": 16}, (0, 0, 400, 400)),
    ],
)
def test_bars_at_the_end_leave_the_picture_where_it_begins(
    options: dict[str, Any], expected: tuple[float, ...]
) -> None:
    spec = ImageSpec(height=64, width=64, pad_side="end", **{"fit": "pad", **options})
    assert region(200, 100, spec) == pytest.approx(expected, abs=0.01)
    fitted = np.asarray(fit_image(Image.new("L", (200, 100), 255).convert("RGB"), spec))[..., 0] > 0
    x, _, across, down = region(200, 100, spec)
    for number, bounds in ((64 * (200 - x) / across, fitted[0]), (64 * 100 / down, fitted[:, 0])):
        assert bounds.sum() == min(64, round(number))
        assert bounds[0]


def test_the_page_shows_where_the_network_looked(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night(model=BUILT_IN)
    report = tmp_path / "out" / "report.html"
    page = report.read_text()
    assert page.count('class="heat"') == page.count("<img ") > 0
    assert 'id="looked"' in page
    make_report(tmp_path / "out")
    assert report.read_text().count('class="heat"') == page.count('class="heat"')


def test_a_page_without_them(
    night: Callable[..., Summary], tmp_path: Path, model_file: Path
) -> None:
    night()  # a network without a feature map
    report = tmp_path / "out" / "report.html"
    assert 'id="looked"' not in report.read_text()
    model_file.unlink()
    make_report(tmp_path / "out")
    assert "<img " in report.read_text()


def test_a_run_without_a_page_computes_none(
    night: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Model, "class_activations")
    assert night(model=BUILT_IN, report=False).classified == 12

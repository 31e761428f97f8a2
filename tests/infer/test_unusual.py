"""What is unusual about a run: by simulation, and in runs over folders of pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from benchmarks.unusual_nights import (
    CHANCE,
    CHANGES,
    Kind,
    after_fog,
    alarms,
    gathered,
    judged,
    lasting,
    ordinary_kinds,
    power,
    summary,
)
from benchmarks.unusual_nights import (
    night as simulated,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.linalg import sqrtm
from scipy.stats import f as f_distribution

import colours
from boatinfer import images
from boatinfer.analysis.coordinates import frechet_distances, whitened
from boatinfer.analysis.unusual import find_unusual
from boatinfer.analysis.yardstick import critical_value, survival
from boatinfer.pipeline.merge_shards import finish
from boatinfer.results.folder_mixes import MAX_FOLDERS, MIN_IMAGES, new_folders
from boatinfer.results.moments import AXES, Moments, projected
from boatinfer.results.store.parts import Parts
from boatinfer.results.summary import Summary, Unusual
from support import Command

Night = Callable[..., Summary]


@pytest.mark.parametrize(
    ("kind", "nights"),
    [("200 images", 800), ("50 to 1,000 images", 400), ("12 cameras of 60 images", 60)],
)
def test_ordinary_nights_raise_an_alarm_at_most_once_in_200(kind: str, nights: int) -> None:
    assert alarms(nights, ordinary_kinds()[kind]) <= nights / 200


@pytest.mark.parametrize(
    ("change", "images", "earlier", "least"),
    [
        ("a class 23 % -> 2 %", 200, 14, 0.9),
        ("a class 23 % -> 2 %", 1000, 5, 0.7),
        ("mean confidence 0.83 -> 0.73", 1000, 14, 0.9),
        ("features: mean + 0.3 SD", 1000, 5, 0.7),
        ("features: mean + 0.3 SD", 200, 14, 0.9),
        ("features: SD x 0.8 (fog)", 200, 14, 0.9),
    ],
)
def test_a_change_is_found(change: str, images: int, earlier: int, least: float) -> None:
    found = power(CHANGES[change], Kind(), images=images, earlier=earlier, times=60)
    assert found >= least


def test_one_strange_night_does_not_hide_the_next() -> None:
    assert after_fog(40) >= 0.9


def test_a_lasting_change_is_told_three_times_and_is_then_usual() -> None:
    draw = np.random.default_rng(0)
    each = np.mean([lasting(draw) for _ in range(12)], axis=0)
    assert each[:3].min() >= 0.8
    assert each[4:].max() <= 0.2


@pytest.mark.parametrize("after", [4, 8, 12])
def test_a_lasting_change_does_not_hide_another(after: int) -> None:
    draw = np.random.default_rng(9)
    kind = Kind()
    changed = kind.with_share("Vaporetto", 0.02)
    other = changed.with_share("Water", 0.75)
    kinds = [*[kind] * 14, *[changed] * after, other]
    found = 0
    for _ in range(10):
        *_, last = judged(simulated(draw, its, 200, False) for its in kinds)
        found += bool(last)
    assert found >= 7


def test_fog_on_one_camera_is_found_by_its_features() -> None:
    draw = np.random.default_rng(8)

    def cameras(scale: float) -> Summary:
        mixes = {name: simulated(draw, Kind(scale=scale), 200) for name in ("a", "b")}
        mixes["b"] = simulated(draw, Kind(), 200)
        new = gathered(mixes)
        for name, its in new.folders.items():
            moments = mixes[name].features
            assert moments is not None
            variances = moments.matrix().diagonal().tolist()
            its.features = replace(moments, covariance=variances)
        return summary(1, new)

    history = [cameras(1.0) for _ in range(14)]
    found = find_unusual(cameras(0.6), history)
    assert [(its.kind, its.folder) for its in found] == [("features", "a")]
    assert found[0].now["distance"] > 2 * found[0].usual["distance"]


def test_a_night_like_three_unusual_ones_is_not_unusual() -> None:
    """Every seventh night the camera shows the harbour."""
    draw = np.random.default_rng(1)
    harbour = Kind().with_share("Gondola", 0.7)
    nights = [simulated(draw, harbour if n % 7 == 6 else Kind(), 200, False) for n in range(49)]
    found = [bool(its) for its in judged(nights)]
    assert found[6:28:7] == [True, True, True, False]
    assert not any(found[27:])


def test_few_images_or_few_nights_say_nothing() -> None:
    draw = np.random.default_rng(2)
    kind, changed = Kind(), Kind().with_share("Water", 0.99)
    history = [summary(n, simulated(draw, kind, 500)) for n in range(14)]
    assert find_unusual(summary(20, simulated(draw, changed, 500)), history)
    assert not find_unusual(summary(20, simulated(draw, changed, 500)), history[:4])
    assert not find_unusual(summary(20, simulated(draw, changed, MIN_IMAGES - 1)), history)
    few = [summary(n, simulated(draw, kind, MIN_IMAGES - 1)) for n in range(14)]
    assert not find_unusual(summary(20, simulated(draw, changed, 500)), few)


@pytest.mark.parametrize("flags", [[Unusual("classes", "Strange.")], []])
def test_a_strange_night_is_no_measure_also_if_nobody_has_said_so(flags: list[Unusual]) -> None:
    draw = np.random.default_rng(3)
    kind, strange = Kind(), Kind().with_share("Water", 0.9)
    nights = [simulated(draw, kind, 300, False) for _ in range(9)]
    runs = [summary(n, mix) for n, mix in enumerate(nights)]
    runs[2] = summary(2, simulated(draw, strange, 300, False), flags)
    found = find_unusual(summary(9, simulated(draw, strange, 300, False)), runs)
    assert [(its.kind, its.runs) for its in found] == [("classes", 8)]


def test_the_sub_folder_that_moved_is_named() -> None:
    draw = np.random.default_rng(4)

    def cameras(kind: Kind) -> Summary:
        others = {f"cam{n}": simulated(draw, Kind(), 100, False) for n in range(5)}
        return summary(1, gathered(others | {"a\tb": simulated(draw, kind, 300, False)}))

    history = [cameras(Kind()) for _ in range(14)]
    found = find_unusual(cameras(Kind().with_share("Water", 0.8)), history)
    (its,) = (one for one in found if one.folder is not None)
    assert (its.kind, its.folder, its.images, its.runs) == ("classes", "a\tb", 300, 14)
    assert its.text.startswith(r"In the folder a\tb: more Water than usual: ")
    assert its.now["Water"] == pytest.approx(0.8, abs=0.1)
    assert its.usual["Water"] == pytest.approx(0.29, abs=0.03)
    assert its.value is not None
    assert its.limit is not None
    assert its.value > its.limit > 1
    assert not find_unusual(cameras(Kind()), history)


@pytest.mark.parametrize(("first", "second"), [(1, 4), (3.3, 20.1), (30, 400), (7, 7)])
def test_the_f_distribution_is_that_of_scipy(first: float, second: float) -> None:
    for value in (0.01, 0.5, 1, 4, 60):
        expected = f_distribution.sf(value, first, second)
        assert survival(value, first, second) == pytest.approx(expected, rel=1e-8)
    for probability in (0.3, 1e-3, 1e-6):
        expected = f_distribution.isf(probability, first, second)
        assert critical_value(probability, first, second) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_is_that_of_the_definition() -> None:
    draw = np.random.default_rng(5)
    points = [draw.normal(size=(50, 4)) @ draw.normal(size=(4, 4)) for _ in range(6)]
    means = np.array([its.mean(axis=0) for its in points])
    covariances = np.array([np.cov(its, rowvar=False) for its in points])
    means, covariances = whitened(means, covariances, np.full(6, 50.0), 5)
    usual = np.eye(4)
    for mean, covariance, distance in zip(
        means, covariances, frechet_distances(means, covariances), strict=True
    ):
        cross = sqrtm(covariance @ usual).real
        expected = mean @ mean + np.trace(covariance + usual - 2 * cross)
        assert distance == pytest.approx(np.sqrt(expected), rel=1e-6)


_FILES = st.lists(st.sampled_from(["a/1", "a/b/1", "a-/1", "b/1", "ab", "/abs/1"]), min_size=1)


@given(_FILES, st.integers(1, 30), st.integers(1, 40))
def test_sub_folders_are_counted(names: list[str], repeated: int, batch: int) -> None:
    paths = sorted(f"{name}-{n}" for n, name in enumerate(names * repeated))
    rows = pa.table(
        {
            "path": paths,
            "label": pa.array([["x", "y"][len(path) % 2] for path in paths]).dictionary_encode(),
            "confidence": [len(path) / 20 for path in paths],
        }
    )
    tables = [rows.slice(start, batch) for start in range(0, len(paths), batch)]
    expected: dict[str, Counter[str]] = {}
    for path in paths:
        folder, slash, _ = path.partition("/")
        if folder and slash:
            expected.setdefault(folder, Counter())["xy"[len(path) % 2]] += 1
    expected = {name: its for name, its in expected.items() if its.total() >= MIN_IMAGES}
    if [its.total() for its in expected.values()] == [len(paths)]:
        expected = {}
    found = new_folders(tables)
    assert {name: its.classes for name, its in found.items()} == expected
    for name, its in found.items():
        inside = [len(path) / 20 for path in paths if path.startswith(f"{name}/")]
        assert its.mean_confidence == pytest.approx(np.mean(inside), abs=1e-6)
        assert sum(its.confidences) == len(inside)


def test_of_many_sub_folders_the_largest_are_kept() -> None:
    sizes = {f"{n:03}": MIN_IMAGES - 2 + n for n in range(70)}
    paths = [f"{name}/{n:04}" for name, size in sizes.items() for n in range(size)]
    label = pa.array(["x"] * len(paths)).dictionary_encode()
    rows = pa.table({"path": paths, "label": label, "confidence": [0.5] * len(paths)})
    assert list(new_folders([rows])) == list(sizes)[70 - MAX_FOLDERS :]


def test_a_projection_keeps_distances_and_few_features_are_themselves() -> None:
    draw = np.random.default_rng(6)
    few = draw.normal(size=(5, AXES)).astype(np.float32)
    assert np.array_equal(projected(few), few)
    many = draw.normal(size=(400, 1280)).astype(np.float32)
    assert projected(many).shape == (400, AXES)
    ratio = (projected(many) ** 2).sum(axis=1) / AXES / (many**2).mean(axis=1)
    assert ratio.mean() == pytest.approx(1, abs=0.1)


def test_features_that_never_vary_are_not_compared() -> None:
    moments = Moments(images=50, mean=[1.0, 2.0], covariance=[0.0, 0.0, 0.0])
    draw = np.random.default_rng(7)
    *history, now = [
        summary(n, replace(simulated(draw, CHANCE, 50, False), features=moments)) for n in range(7)
    ]
    assert find_unusual(now, history) == []


def _pictures(folder: Path, night: int, each: int, dark: bool = False) -> None:
    """Adds pictures of a night, of each colour as many, in two sub-folders."""
    for number in range(each):
        for colour in colours.CLASSES:
            for camera in ("east", "west"):
                colour_now = "red" if dark and camera == "west" else colour
                file = folder / camera / f"{night}-{colour}-{number}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                seed = 10_000 * night + 10 * number + colours.CLASSES.index(colour)
                file.write_bytes(colours.picture(colour_now, seed + 5 * (camera == "west")))


def test_a_run_tells_which_sub_folder_is_unusual(
    boatinfer: Command, model_file: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "cameras", tmp_path / "out"
    command = ["run", folder, "-o", out, "-m", model_file, "--fail-on-unusual"]
    for number in range(5):
        _pictures(folder, number, 10)
        assert boatinfer(*command).code == 0
    _pictures(folder, 5, 10, dark=True)
    done = boatinfer(*command)
    found = json.loads((out / "run.json").read_text())
    assert (done.code, found["exit_code"]) == (9, 9)
    assert {(its["kind"], its.get("folder")) for its in found["unusual"]} >= {("classes", "west")}
    assert all(its.get("folder") != "east" for its in found["unusual"])
    sentence = "In the folder west: more red than usual: 100 %, usually 33 %"
    assert f"unusual: {sentence}" in done.out
    page = (out / "report.html").read_text()
    assert "Complete, but look" in page
    assert sentence in page
    assert set(found["new"]["folders"]) == {"east", "west"}
    assert found["new"]["folders"]["west"]["classes"] == {"red": 30}
    assert found["new"]["features"] is None


def test_moments_are_those_of_the_new_images_also_of_shards(
    night: Night, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = Parts.read_masked

    def noted(self: Parts, masks: object, columns: list[str]) -> object:
        read.extend(columns)
        return original(self, masks, columns)  # type: ignore[arg-type]

    monkeypatch.setattr(Parts, "read_masked", noted)
    for colour in colours.CLASSES:
        (pictures / colour / "000.jpg").unlink()
    options = {"features": True}
    night(**options)
    _run_sharded(night, tmp_path / "sharded")
    _pictures(pictures, 1, 7)
    whole = night(**options)
    sharded = _run_sharded(night, tmp_path / "sharded")
    assert whole.new is not None
    assert whole.new.features is not None
    features = _features(pictures, "[ew]*st/1-*.jpg")
    assert whole.new.features.images == len(features) == 42
    assert whole.new.features.mean == pytest.approx(features.mean(axis=0), abs=1e-5)
    covariance = np.cov(features, rowvar=False)
    assert whole.new.features.matrix() == pytest.approx(covariance, abs=1e-5)
    west = _features(pictures, "west/1-*.jpg")
    its = whole.new.folders["west"].features
    assert its is not None
    assert its.images == 21
    assert its.mean == pytest.approx(west.mean(axis=0), abs=1e-5)
    assert its.covariance == pytest.approx(west.var(axis=0, ddof=1), abs=1e-5)
    assert sharded.new is not None
    _assert_close(sharded.new.features, whole.new.features)
    assert sharded.new.folders.keys() == whole.new.folders.keys()
    read.clear()
    bare = night(out=tmp_path / "bare")
    assert bare.new is not None
    assert bare.new.features is None
    assert "features" not in read


def _assert_close(first: Moments | None, second: Moments) -> None:
    assert first is not None
    assert first.images == second.images
    assert first.mean == pytest.approx(second.mean, rel=1e-4)
    assert first.covariance == pytest.approx(second.covariance, rel=1e-4)


def _run_sharded(night: Night, out: Path) -> Summary:
    for number in (1, 2):
        night(out=out, features=True, shard=f"{number}/2")
    return finish(out)


def _features(pictures: Path, pattern: str) -> npt.NDArray[np.float64]:
    """The features of the pictures, read one by one."""
    pixels = [images.read(file.read_bytes(), colours.SPEC) for file in pictures.glob(pattern)]
    return np.array([its.reshape(-1, 3).mean(axis=0) / 255 for its in pixels])


def test_chance_alone_is_not_unusual() -> None:
    assert alarms(300, lambda draw: simulated(draw, CHANCE, 100, False)) <= 1

"""The options of a run: what is refused, and where the limits lie."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from boatinfer.errors import UsageError
from boatinfer.pipeline.options import RunOptions

#: The least and the most that each number may be.
BOUNDS = [
    *(("top", 1, 10), ("batch_size", 1, 65_536), ("threads", 1, 1024)),
    ("limit", 1, sys.maxsize),
]


def options(**changes: Any) -> RunOptions:
    return RunOptions(Path("in"), **changes)


@pytest.mark.parametrize(("name", "least", "most"), BOUNDS)
def test_a_number_is_within_its_bounds(name: str, least: int, most: int) -> None:
    for value in (least, most):
        assert getattr(options(**{name: value}), name) == value
    for value in (least - 1, most + 1):
        with pytest.raises(UsageError, match=f"{name} must be from {least} to {most:,}, not"):
            options(**{name: value})


@pytest.mark.parametrize("workers", [1, 65_536])
def test_workers_are_of_a_cluster(workers: int) -> None:
    assert options(engine="ray", workers=workers).workers == workers
    with pytest.raises(UsageError, match="--workers need --engine ray"):
        options(workers=workers)
    with pytest.raises(UsageError, match="must be from 1"):
        options(engine="ray", workers=(workers - 1) * 2)
    with pytest.raises(UsageError, match="--ray-address and --workers need"):
        options(ray_address="here:1")
    with pytest.raises(UsageError, match="must be local or ray, not spark"):
        options(engine="spark")


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_confidence_is_a_share(share: float) -> None:
    assert options(min_confidence=share).min_confidence == share


@pytest.mark.parametrize("share", [-0.01, 1.01, math.nan])
def test_a_confidence_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="give a share from 0 to 1"):
        options(min_confidence=share)


def test_of_the_ways_to_set_a_threshold_one_is_taken() -> None:
    file = Path("e.json")
    chosen = options(target_accuracy=0.9, evaluation=file)
    assert (chosen.target_accuracy, chosen.evaluation) == (0.9, file)
    refused: list[tuple[dict[str, Any], str]] = [
        (
            {"min_confidence": 0.5, "target_accuracy": 0.9, "evaluation": file},
            "both set the threshold",
        ),
        ({"target_accuracy": 0.9}, "needs an --evaluation"),
        ({"evaluation": file}, "is read for a --target-accuracy"),
        ({"min_confidence": 0.5, "evaluation": file}, "is read for a --target-accuracy"),
    ]
    for changes, said in refused:
        with pytest.raises(UsageError, match=said):
            options(**changes)


@pytest.mark.parametrize("seconds", [1, 0.5, math.nan, math.inf])
def test_an_image_has_a_second_at_least_and_no_end_of_time(seconds: float) -> None:
    if seconds == 1:
        assert options(image_timeout=seconds).image_timeout == 1
    else:
        with pytest.raises(UsageError, match="give seconds, 1 at least"):
            options(image_timeout=seconds)


def test_text_is_taken_for_what_it_means() -> None:
    chosen = options(out="there", model="m.onnx", svm="s.joblib", memory="2G", exclude=["a/", "b"])
    assert (chosen.out, chosen.model, chosen.svm) == (
        Path("there"),
        Path("m.onnx"),
        Path("s.joblib"),
    )
    assert chosen.memory == 2 * 2**30
    assert chosen.exclude == ["a", "b"]
    for name in ("include", "exclude"):
        with pytest.raises(UsageError, match=f"{name} must be a list of patterns"):
            options(**{name: "*.jpg"})


def test_what_keeps_a_run_from_the_whole_folder_is_told() -> None:
    assert options().restrictions == []
    chosen = options(
        recursive=False,
        include=["a b"],
        exclude=["c/"],
        from_file=Path("list.txt"),
        limit=3,
    )
    assert chosen.restrictions == [
        "--no-recursive",
        "--include 'a b'",
        "--exclude c",
        "--from-file list.txt",
        "--limit 3",
    ]

"""What is unusual about a run's new images: classes, confidences, features; whole and by folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from boatinfer.analysis.coordinates import (
    class_points,
    confidence_points,
    feature_points,
    frechet_distances,
    whitened,
)
from boatinfer.analysis.drift import jensen_shannon, mean_shares
from boatinfer.analysis.yardstick import MIN_RUNS, Points, Verdict, judge
from boatinfer.i18n import ENGLISH
from boatinfer.results.folder_mixes import MIN_IMAGES
from boatinfer.results.mix import FolderMix, Mix
from boatinfer.results.summary import Summary, Unusual
from boatinfer.results.unusual_text import MIN_CONFIDENCE, unusual_in_words

__all__ = ["FALSE_ALARMS", "KINDS", "comparable", "compared_runs", "find_unusual", "mark_unusual"]

#: The probability that anything about an ordinary run is called unusual, if runs differ normally.
#: Half of what docs/report.md promises, since they differ more by far now and then.
FALSE_ALARMS = 1 / 400
#: The share of it that is for the whole, where sub-folders are compared too.
_WHOLE_SHARE = 0.5
#: What is compared.
KINDS = ("classes", "confidence", "novelty", "features")
#: Ordinary earlier runs to compare with, at most; unusual ones of twice as many are remembered.
_RUNS, _REMEMBERED = 14, 28
#: A folder is silent if it had this many times `MIN_IMAGES` in each of the last `MIN_RUNS` runs.
_MANY = 2
#: Runs that are looked at in search of these.
_LOOKED_AT = 500
#: Classes that a sentence names, in each direction, at most.
_NAMED = 3
#: A smaller change is not worth a word: of a share, and a divergence.
_MIN_SHARE, _MIN_DIVERGENCE = 0.02, 0.02

Images = Mix | FolderMix


class _Comparison(NamedTuple):
    """One kind in one folder, or in the whole.

    Attributes:
        kind: one of `KINDS`.
        folder: None for the whole.
        now: the new images.
        ordinary: those of earlier runs that were not unusual, latest first.
        unusual: those of earlier runs that were.
        ages: of the ordinary ones, then of the unusual ones: 0 for the latest run, and so on.
    """

    kind: str
    folder: str | None
    now: Images
    ordinary: list[Images]
    unusual: list[Images]
    ages: list[int]

    @property
    def all(self) -> list[Images]:
        return [self.now, *self.ordinary, *self.unusual]


class _Change(NamedTuple):
    """What has changed, in figures as of `Unusual`."""

    now: dict[str, float]
    usual: dict[str, float]


def mark_unusual(summary: Summary, history: Iterable[Summary]) -> Summary:
    """Adds what is unusual about the new images to the summary.

    Args:
        summary: the run's summary, with its new images.
        history: the runs before it, latest first.
    """
    return replace(summary, unusual=[*summary.unusual, *find_unusual(summary, history)])


def find_unusual(summary: Summary, history: Iterable[Summary]) -> list[Unusual]:
    """Compares a run's new images with those of earlier runs.

    Args:
        summary: the run.
        history: the runs before it, latest first.
    """
    if summary.new is None or summary.new.classified < MIN_IMAGES:
        return []
    earlier = comparable(summary, history, _REMEMBERED)
    comparisons = list(_comparisons(summary.new, earlier))
    whole = sum(comparison.folder is None for comparison in comparisons)
    in_folders = len(comparisons) - whole
    share = _WHOLE_SHARE if in_folders else 1.0
    found = [] if summary.restrictions else list(_silent_folders(summary.new, earlier))
    for comparison in comparisons:
        # Bonferroni: the probabilities of all comparisons together come to FALSE_ALARMS.
        part = share / whole if comparison.folder is None else (1 - share) / in_folders
        unusual = _compare(comparison, FALSE_ALARMS * part)
        found += [] if unusual is None else [unusual]
    return found


def _silent_folders(new: Mix, runs: Sequence[Summary]) -> Iterator[Unusual]:
    """Sub-folders without new images that had many in each of the last runs."""
    latest = [run.new.folders for run in runs[:MIN_RUNS] if run.new is not None]
    if len(latest) < MIN_RUNS:
        return
    for folder in latest[0].keys() - new.folders.keys():
        images = [sum(its[folder].confidences) for its in latest if folder in its]
        if len(images) == MIN_RUNS and min(images) >= _MANY * MIN_IMAGES:
            usual = {"images": float(np.mean(images)), "least": float(min(images))}
            yield _told(Unusual("folder_silent", "", folder, runs=MIN_RUNS, usual=usual))


def comparable(summary: Summary, history: Iterable[Summary], count: int) -> list[Summary]:
    """The latest complete runs of the same model with new images, latest first.

    Args:
        summary: the run.
        history: the runs before it, latest first.
        count: how many, at most.
    """
    runs: list[Summary] = []
    for run in itertools.islice(history, _LOOKED_AT):
        if (
            run.complete
            and (run.model, run.restrictions) == (summary.model, summary.restrictions)
            and run.new
            and run.new.classified
        ):
            runs.append(run)
            if len(runs) == count:
                break
    return runs


def compared_runs(runs: Sequence[Summary], kind: str) -> list[Summary]:
    """The runs that a kind of the whole is compared with: enough images, and not unusual in it."""
    return [
        run
        for run in runs
        if run.new is not None
        and run.new.classified >= MIN_IMAGES
        and (kind, None) not in _reasons(run)
    ][:_RUNS]


def _reasons(run: Summary) -> set[tuple[str, str | None]]:
    return {(unusual.kind, unusual.folder) for unusual in run.unusual}


def _comparisons(new: Mix, runs: Sequence[Summary]) -> Iterator[_Comparison]:
    """All comparisons that there are enough runs and images for."""
    folders: list[tuple[str | None, Images]] = [(None, new)]
    if all(sum(its.confidences) < new.classified for its in new.folders.values()):
        folders += new.folders.items()  # otherwise one of them is the whole
    reasons = [_reasons(run) for run in runs]
    for folder, now in folders:
        earlier = [_images(run, folder) for run in runs]
        for kind in KINDS:
            if not _enough(now, kind, now):
                continue
            usable = [
                (age, images, (kind, folder) in its)
                for age, (its, images) in enumerate(zip(reasons, earlier, strict=True))
                if images is not None and _enough(images, kind, now)
            ]
            ordinary = [(age, images) for age, images, flagged in usable if not flagged][:_RUNS]
            unusual = [(age, images) for age, images, flagged in usable if flagged]
            if len(ordinary) >= MIN_RUNS:
                yield _Comparison(
                    kind,
                    folder,
                    now,
                    [images for _, images in ordinary],
                    [images for _, images in unusual],
                    [age for age, _ in (*ordinary, *unusual)],
                )


def _images(run: Summary, folder: str | None) -> Images | None:
    assert run.new is not None
    return run.new if folder is None else run.new.folders.get(folder)


def _enough(images: Images, kind: str, now: Images) -> bool:
    """Whether there are enough images; and features on the same axes as now."""
    if kind == "novelty":
        return sum(_novelties(images)) >= MIN_IMAGES
    if kind != "features":
        return sum(images.confidences) >= MIN_IMAGES
    first, second = images.features, now.features
    return (
        first is not None
        and second is not None
        and first.images >= MIN_IMAGES
        and len(first.mean) == len(second.mean)
    )


def _novelties(images: Images) -> list[int]:
    """The histogram of novelty; sub-folders have none."""
    return images.novelties if isinstance(images, Mix) else []


def _compare(comparison: _Comparison, false_alarms: float) -> Unusual | None:
    points = _points(comparison)
    last = 1 + len(comparison.ordinary)
    verdict = judge(
        points.places[0],
        float(points.sizes[0]),
        Points(points.places[1:last], points.sizes[1:last], points.free),
        Points(points.places[last:], points.sizes[last:], points.free),
        ages=np.array(comparison.ages, np.int64),
        false_alarms=false_alarms,
    )
    if verdict is None or not verdict.unusual:
        return None
    change = _change(comparison, verdict)
    if change is None:
        return None
    return _told(
        Unusual(
            kind=comparison.kind,
            text="",
            folder=comparison.folder,
            value=_rounded(verdict.value),
            limit=_rounded(verdict.limit),
            images=int(points.sizes[0]),
            runs=int(verdict.ordinary.sum()),
            now={name: _rounded(value) for name, value in change.now.items()},
            usual={name: _rounded(value) for name, value in change.usual.items()},
        )
    )


def _told(unusual: Unusual) -> Unusual:
    """With its sentence."""
    return replace(unusual, text=unusual_in_words(unusual, ENGLISH))


def _points(comparison: _Comparison) -> Points:
    ordinary = len(comparison.ordinary)
    if comparison.kind == "classes":
        return class_points(_class_counts(comparison.all)[1], ordinary)
    if comparison.kind == "confidence":
        return confidence_points([images.confidences for images in comparison.all], ordinary)
    if comparison.kind == "novelty":
        return confidence_points([_novelties(images) for images in comparison.all], ordinary)
    return feature_points(*_whitened(comparison.all, ordinary))


def _class_counts(runs: Sequence[Images]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Names of classes [K], and images of each in each run, [N, K]."""
    names = sorted({name for images in runs for name in images.classes})
    counts = [[images.classes.get(name, 0) for name in names] for images in runs]
    return names, np.array(counts, np.int64)


def _whitened(
    runs: Sequence[Images], ordinary: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    moments = [images.features for images in runs if images.features is not None]
    means = np.array([its.mean for its in moments], np.float64)
    sizes = np.array([its.images for its in moments], np.float64)
    return (*whitened(means, np.stack([its.matrix() for its in moments]), sizes, ordinary), sizes)


def _change(comparison: _Comparison, verdict: Verdict) -> _Change | None:
    """What has changed; None if it is not worth a word."""
    compared = [
        images
        for images, ordinary in zip(comparison.ordinary, verdict.ordinary, strict=True)
        if ordinary
    ]
    runs = [comparison.now, *compared]
    if comparison.kind == "classes":
        return _class_change(runs)
    if comparison.kind == "confidence":
        return _spread_change([(its.mean_confidence, its.confidences) for its in runs])
    if comparison.kind == "novelty":
        mixes = [its for its in runs if isinstance(its, Mix)]
        return _spread_change([(its.mean_novelty, its.novelties) for its in mixes])
    return _feature_change(runs)


def _class_change(runs: Sequence[Images]) -> _Change | None:
    names, counts = _class_counts(runs)
    shares, usual = mean_shares([counts[0]]), mean_shares([*counts[1:]])
    moved = shares - usual
    order = np.argsort(-moved, kind="stable")
    more = [i for i in order[:_NAMED] if moved[i] > _MIN_SHARE]
    fewer = [i for i in order[::-1][:_NAMED] if moved[i] < -_MIN_SHARE]
    named = sorted([*more, *fewer], key=lambda i: -abs(moved[i]))
    if not named and float(jensen_shannon(shares, usual)) < _MIN_DIVERGENCE:
        return None
    return _Change(
        {names[i]: float(shares[i]) for i in named},
        {names[i]: float(usual[i]) for i in named},
    )


def _spread_change(runs: Sequence[tuple[float | None, list[int]]]) -> _Change | None:
    """The change of a mean and of a histogram; these of now and of the earlier runs."""
    means = [mean or 0.0 for mean, _ in runs]
    now, usual = means[0], float(np.mean(means[1:]))
    counts = [np.array(histogram) for _, histogram in runs]
    if (
        abs(now - usual) < MIN_CONFIDENCE
        and float(jensen_shannon(counts[0], mean_shares(counts[1:]))) < _MIN_DIVERGENCE
    ):
        return None
    return _Change({"mean": now}, {"mean": usual})


def _feature_change(runs: Sequence[Images]) -> _Change:
    means, covariances, _ = _whitened(runs, len(runs) - 1)
    now, *earlier = frechet_distances(means, covariances).tolist()
    usual = float(np.median(earlier))
    return _Change({"distance": now}, {"distance": usual})


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")

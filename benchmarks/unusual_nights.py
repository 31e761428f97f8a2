"""How often ordinary nights raise an alarm, and how often a planted change is found.

Simulates nights, and judges them as a run does. The class mix of a night is drawn from a
Dirichlet distribution around a usual mix, so that nights differ by more than chance; so do the
confidences, and the mean and the scale of the features.

    python benchmarks/unusual_nights.py [--nights 2000] [--changed 200]
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import numpy.typing as npt

from boatinfer.analysis.unusual import find_unusual
from boatinfer.results.mix import FolderMix, Mix, histogram
from boatinfer.results.moments import AXES, Moments
from boatinfer.results.summary import Summary, Unusual

CLASSES = ["Water", "Vaporetto", "Mototopo", "Topa", "Barchino", "Gondola", "Patrol", "Polizia"]
#: The usual share of each.
SHARES = np.array([0.29, 0.23, 0.20, 0.12, 0.08, 0.05, 0.02, 0.01])
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """A kind of night.

    Attributes:
        shares: of the classes, [K].
        concentration: of the Dirichlet distribution of a night's shares; None means that nights
            differ by chance alone. 200 means a standard deviation of 3 % for a share of 23 %.
        confidence: the mean confidence, logit.
        confidence_spread: standard deviation between nights, logit.
        shift: of the features along each axis, in standard deviations of the images.
        scale: of the features: below 1 in fog.
        feature_spread: standard deviation between nights of the shift along each axis, and of the
            logarithm of the scale.
    """

    shares: Floats = field(default_factory=lambda: SHARES)
    concentration: float | None = 200
    confidence: float = 2.0
    confidence_spread: float = 0.1
    shift: float = 0.0
    scale: float = 1.0
    feature_spread: float = 0.1

    def with_share(self, name: str, share: float) -> Kind:
        """The same with another share of a class; the others keep their proportions."""
        index = CLASSES.index(name)
        shares = self.shares * (1 - share) / (1 - self.shares[index])
        shares[index] = share
        return replace(self, shares=shares)


#: Nights that differ by chance alone.
CHANCE = Kind(concentration=None, confidence_spread=0, feature_spread=0)

CHANGES: dict[str, Callable[[Kind], Kind]] = {
    "a class 23 % -> 2 %": lambda kind: kind.with_share("Vaporetto", 0.02),
    "a class 29 % -> 36 %": lambda kind: kind.with_share("Water", 0.36),
    "a class 29 % -> 50 %": lambda kind: kind.with_share("Water", 0.50),
    "mean confidence 0.83 -> 0.73": lambda kind: replace(kind, confidence=1.2),
    "features: mean + 0.3 SD": lambda kind: replace(kind, shift=0.3),
    "features: SD x 0.8 (fog)": lambda kind: replace(kind, scale=0.8),
}


def night(draw: np.random.Generator, kind: Kind, images: int, features: bool = True) -> Mix:
    """The new images of a night, as run.json has them."""
    shares = kind.shares
    if kind.concentration is not None:
        shares = draw.dirichlet(kind.concentration * shares)
    counts = draw.multinomial(images, shares)
    level = draw.normal(kind.confidence, kind.confidence_spread)
    confidences = 1 / (1 + np.exp(-draw.normal(level, 1.5, images)))
    return Mix(
        found=images,
        classified=images,
        classes={name: int(n) for name, n in zip(CLASSES, counts, strict=True) if n},
        confidences=histogram(confidences).tolist(),
        mean_confidence=float(confidences.mean()),
        features=_moments(draw, kind, images) if features else None,
    )


def _moments(draw: np.random.Generator, kind: Kind, images: int) -> Moments:
    """Moments of features whose axes are as unlike as those of a network."""
    deviations = np.geomspace(1, 0.1, AXES)
    shift = draw.normal(kind.shift, kind.feature_spread, AXES)
    scale = kind.scale * np.exp(draw.normal(0, kind.feature_spread, AXES))
    points = (draw.standard_normal((images, AXES)) * scale + shift) * deviations
    points[:, 1:] += points[:, :-1] / 2  # correlated
    covariance = np.cov(points, rowvar=False)
    return Moments(
        images=images,
        mean=points.mean(axis=0).tolist(),
        covariance=covariance[np.tril_indices(AXES)].tolist(),
    )


def gathered(folders: dict[str, Mix]) -> Mix:
    """The new images of several sub-folders as those of the whole, without features."""
    classes: Counter[str] = Counter()
    for mix in folders.values():
        classes.update(mix.classes)
    images = sum(mix.classified for mix in folders.values())
    total = sum(mix.classified * (mix.mean_confidence or 0) for mix in folders.values())
    return Mix(
        found=images,
        classified=images,
        classes=dict(classes),
        confidences=np.sum([mix.confidences for mix in folders.values()], axis=0).tolist(),
        mean_confidence=total / images,
        folders={
            name: FolderMix(
                classes=mix.classes,
                confidences=mix.confidences,
                mean_confidence=mix.mean_confidence or 0,
            )
            for name, mix in folders.items()
        },
    )


def cameras(draw: np.random.Generator, first: Kind | None = None) -> Mix:
    """The new images of 12 cameras, 60 of each, without features; the first may be another."""
    kind = Kind(concentration=100)
    kinds = [first or kind, *[kind] * 11]
    return gathered({f"cam{n}": night(draw, k, 60, False) for n, k in enumerate(kinds)})


def one_camera(times: int, seed: int = 0) -> float:
    """The share of nights in which a camera is named that sees a class at 80 %, not 29 %."""
    draw = np.random.default_rng(seed)
    changed = Kind(concentration=100).with_share("Water", 0.8)
    hits = 0
    for _ in range(times):
        history = [summary(number, cameras(draw)) for number in range(14)]
        found = find_unusual(summary(14, cameras(draw, changed)), history[::-1])
        hits += any(unusual.folder == "cam0" for unusual in found)
    return hits / times


def summary(number: int, new: Mix, unusual: Iterable[Unusual] = ()) -> Summary:
    """The summary of a night."""
    started = "2026-01-01T00:00:00+00:00"
    return Summary(
        run=f"{number:06}",
        folder="/photos",
        started=started,
        complete=True,
        model="m",
        new=new,
        unusual=list(unusual),
    )


def judged(nights: Iterable[Mix]) -> Iterator[list[Unusual]]:
    """Judges nights one after the other, as runs do: each knows what the earlier ones said."""
    history: list[Summary] = []
    for number, new in enumerate(nights):
        now = summary(number, new)
        found = find_unusual(now, history)
        yield found
        history.insert(0, msgspec.structs.replace(now, unusual=found))


def alarms(nights: int, make: Callable[[np.random.Generator], Mix], seed: int = 0) -> int:
    """How many ordinary nights in a row raise an alarm; the first five raise none."""
    draw = np.random.default_rng(seed)
    return sum(bool(found) for found in judged(make(draw) for _ in range(nights + 5)))


def power(
    change: Callable[[Kind], Kind],
    kind: Kind,
    *,
    images: int,
    earlier: int,
    times: int,
    seed: int = 0,
) -> float:
    """The share of changed nights, after ordinary ones, that are called unusual."""
    draw = np.random.default_rng(seed)
    hits = 0
    for _ in range(times):
        *history, now = [
            summary(number, night(draw, k, images))
            for number, k in enumerate([*[kind] * earlier, change(kind)])
        ]
        hits += bool(find_unusual(now, history[::-1]))
    return hits / times


def after_fog(times: int, images: int = 200, seed: int = 0) -> float:
    """After a night of fog, the share of nights with a class at 2 % that are found.

    Thirteen ordinary nights, one in which nearly all is Water and the network unsure, two
    ordinary ones, and one in which a class is at 2 % instead of 23 %.
    """
    draw, kind = np.random.default_rng(seed), Kind()
    fog = replace(kind.with_share("Water", 0.9), confidence=0.5, scale=0.5)
    changed = kind.with_share("Vaporetto", 0.02)
    hits = 0
    for _ in range(times):
        kinds = [*[kind] * 13, fog, kind, kind, changed]
        *_, last = judged(night(draw, k, images) for k in kinds)
        hits += any(unusual.kind == "classes" for unusual in last)
    return hits / times


def after_change(times: int, nights: int, images: int = 200, seed: int = 0) -> float:
    """The share of nights with a class at 75 % that are found so many nights after a change."""
    draw, kind = np.random.default_rng(seed), Kind()
    changed = kind.with_share("Vaporetto", 0.02)
    kinds = [*[kind] * 14, *[changed] * nights, changed.with_share("Water", 0.75)]
    hits = 0
    for _ in range(times):
        *_, last = judged(night(draw, k, images, False) for k in kinds)
        hits += bool(last)
    return hits / times


def lasting(draw: np.random.Generator, images: int = 200) -> list[bool]:
    """Which of twenty nights after a lasting change raise an alarm."""
    kind = Kind()
    changed = kind.with_share("Vaporetto", 0.02)
    nights = [night(draw, k, images) for k in [kind] * 14 + [changed] * 20]
    return [bool(found) for found in judged(nights)][14:]


def ordinary_kinds() -> dict[str, Callable[[np.random.Generator], Mix]]:
    """Ordinary nights of several kinds."""

    def sizes(draw: np.random.Generator) -> int:
        return int(np.exp(draw.uniform(np.log(50), np.log(1000))))

    days = itertools.count()

    def week(draw: np.random.Generator) -> Mix:
        weekend = next(days) % 7 in {5, 6}
        return night(draw, Kind().with_share("Water", 0.45) if weekend else Kind(), 200)

    seasons = itertools.count()

    def season(draw: np.random.Generator) -> Mix:
        water = 0.29 + 0.1 * np.sin(2 * np.pi * next(seasons) / 365)
        return night(draw, Kind().with_share("Water", water), 200)

    return {
        "50 images": lambda draw: night(draw, Kind(), 50),
        "200 images": lambda draw: night(draw, Kind(), 200),
        "1000 images": lambda draw: night(draw, Kind(), 1000),
        "200 images, by chance alone": lambda draw: night(draw, CHANCE, 200),
        "1000 images, very different nights": lambda draw: night(
            draw, Kind(concentration=30, confidence_spread=0.4, feature_spread=0.4), 1000
        ),
        "50 to 1,000 images": lambda draw: night(draw, Kind(), sizes(draw)),
        "200 images, a class at 45 % on weekends": week,
        "200 images, a class at 19 to 39 % over the year": season,
        "12 cameras of 60 images": cameras,
    }


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nights", type=int, default=2000)
    parser.add_argument("--changed", type=int, default=200)
    arguments = parser.parse_args()
    print("False alarms per 1,000 ordinary nights:")
    for name, make in ordinary_kinds().items():
        found = alarms(arguments.nights, make)
        print(f"  {name:48} {1000 * found / arguments.nights:5.1f}", flush=True)
    for title, kind in [("", Kind()), (", nights that differ by chance alone", CHANCE)]:
        print(f"Changed nights found, of 50 / 200 / 1,000 images{title}:")
        for name, change in CHANGES.items():
            for earlier in (5, 14):
                shares = [
                    power(change, kind, images=n, earlier=earlier, times=arguments.changed)
                    for n in (50, 200, 1000)
                ]
                text = " ".join(f"{share:4.0%}" for share in shares)
                print(f"  {name:30} {earlier:2} earlier nights {text}", flush=True)
    print(f"A class at 2 % after fog: {after_fog(arguments.changed):.1%}")
    print(f"One camera of 12, a class at 80 % instead of 29 %: {one_camera(arguments.changed):.1%}")
    for nights in (4, 8, 12):
        share = after_change(arguments.changed, nights)
        print(f"A class at 75 %, {nights} nights after a lasting change: {share:.1%}")
    draw = np.random.default_rng(0)
    each = np.mean([lasting(draw) for _ in range(arguments.changed // 4)], axis=0)
    print("Alarms in the nights after a lasting change:", *(f"{share:.0%}" for share in each))


if __name__ == "__main__":
    main()

"""``boatinfer similar``: images whose feature vectors are near each other."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from boatinfer.analysis import neighbours
from boatinfer.analysis.options import Metric, SimilarOptions
from boatinfer.errors import ImageError, ModelError, UsageError
from boatinfer.images import IsolatedReader, PixelReader, load
from boatinfer.models.inference import Floats
from boatinfer.results.find import find_results
from boatinfer.results.store.rows import matrix
from boatinfer.storage.base import Place
from boatinfer.storage.locations import is_remote
from boatinfer.text import counted, from_text, printable, table, to_text

__all__ = ["Duplicates", "Nearest", "Pairs", "duplicates", "nearest", "pairs", "similar"]


@dataclass(frozen=True)
class Nearest:
    """The images nearest to one.

    Attributes:
        image: which one.
        metric: which distance.
        among: how many images were compared.
        folder: which paths are relative to.
        file: path of the one, relative to the folder or absolute.
        found: ``path``, ``label`` and ``distance``, nearest first.
    """

    image: str
    metric: Metric
    among: int
    folder: str
    file: str
    found: pa.Table

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found = self.found.to_pylist()
        return {"image": self.image, "metric": self.metric, "among": self.among, "nearest": found}

    def text(self) -> str:
        """For a terminal."""
        rows = [(r["label"], r["path"], f"{r['distance']:.4g}") for r in self.found.to_pylist()]
        heading = f"nearest to {printable(self.image)} among {counted(self.among, 'image')}"
        lines = table([("class", "image", self.metric.value), *rows], names=2)
        return "\n".join([heading, *lines])


@dataclass(frozen=True)
class Pairs:
    """Distances between a few images.

    Attributes:
        images: which ones, N of them.
        metric: which distance.
        folder: which paths are relative to.
        files: paths of the images, relative to the folder or absolute.
        distances: float64 [N, N].
    """

    images: Sequence[str]
    metric: Metric
    folder: str
    files: Sequence[str]
    distances: neighbours.Distances

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found = self.distances.tolist()
        return {"images": self.images, "metric": self.metric, "distances": found}

    def text(self) -> str:
        """For a terminal."""
        heading = (f"{self.metric} distances", "", *range(1, len(self.images) + 1))
        rows = [
            (name, number, *(f"{value:.4g}" for value in row))
            for number, (name, row) in enumerate(zip(self.images, self.distances, strict=True), 1)
        ]
        return "\n".join(table([heading, *rows]))


@dataclass(frozen=True)
class Duplicates:
    """Images that are the same or nearly so.

    Attributes:
        metric: which distance.
        folder: which paths are relative to.
        same: paths of each group of files with the same content.
        closest: ``path``, ``other`` and ``distance`` of the closest pairs of different
            content, closest first; of each group of the same the first counts.
    """

    metric: Metric
    folder: str
    same: list[list[str]]
    closest: pa.Table

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"metric": self.metric, "same": self.same, "closest": self.closest.to_pylist()}

    def text(self) -> str:
        """For a terminal."""
        rows = [(r["path"], r["other"], f"{r['distance']:.4g}") for r in self.closest.to_pylist()]
        same = ["  " + printable("  ".join(group)) for group in self.same]
        return "\n".join(
            [
                f"files of the same content: {len(same) or 'none'}",
                *same,
                "closest pairs of different content",
                *table([("image", "other image", self.metric.value), *rows], names=2),
            ]
        )


def similar(options: SimilarOptions) -> Nearest | Pairs | Duplicates:
    """Answers what the options ask.

    Raises:
        UsageError: they do not fit together, or there is no such image or no features.
        ModelError: the model for an image outside of the results is not that of the results.
        OutputError: the results are damaged.
    """
    paths, metric = options.paths, options.metric
    if options.pairs and options.duplicates:
        raise UsageError("--pairs and --duplicates are two questions; ask one at a time.")
    if options.duplicates:
        if len(paths) != 1:
            raise UsageError("--duplicates takes one results folder: similar OUT --duplicates.")
        return duplicates(paths[0], options.k, metric)
    if options.pairs:
        if len(paths) < 3:
            raise UsageError(
                "--pairs takes a results folder and two images or more: similar OUT --pairs IMAGE "
                "IMAGE..."
            )
        return pairs(paths[0], paths[1:], metric, options.model)
    if len(paths) != 2:
        raise UsageError("give one image and one results folder: similar IMAGE OUT.")
    return nearest(paths[0], paths[1], options.k, metric, options.model)


def nearest(
    image: Place,
    out: Place,
    k: int = 20,
    metric: Metric = Metric.EUCLIDEAN,
    model: Place | None = None,
) -> Nearest:
    """Finds the images of a results folder that are nearest to one, itself left out.

    Args:
        image: a file, or a path as predictions.csv has it.
        out: a results folder made with features.
        k: how many.
        metric: which distance.
        model: the model file of the results, for an image that is not in them; None takes
            the built-in one.
    """
    folder = _Folder(out)
    (query,) = folder.vectors([image], model)
    others = folder.images
    own = folder.place(image)
    if own is not None:
        others = others.filter(pc.not_equal(others["path"], own))
    places, found = neighbours.nearest(folder.blocks(others), query, k, metric)
    rows = others.take(pa.array(places)).append_column("distance", pa.array(found))
    name, file = to_text(str(image)), folder.file(image)
    found_rows = folder.labelled(rows)
    return Nearest(name, metric, others.num_rows, folder.name, file, found_rows)


def pairs(
    out: Place,
    images: Sequence[Place],
    metric: Metric = Metric.EUCLIDEAN,
    model: Place | None = None,
) -> Pairs:
    """Measures the distances between a few images; the arguments are as for `nearest`."""
    folder = _Folder(out)
    distances = neighbours.matrix_of_distances(folder.vectors(images, model), metric)
    names, files = [to_text(str(image)) for image in images], [folder.file(i) for i in images]
    return Pairs(names, metric, folder.name, files, distances)


def duplicates(out: Place, k: int = 20, metric: Metric = Metric.EUCLIDEAN) -> Duplicates:
    """Finds the files of the same content, and the k closest pairs of the others.

    Every image is compared with every other, so the time grows with the square of the number.
    """
    folder = _Folder(out)
    images, same = folder.distinct()
    places, found = neighbours.closest_pairs(
        lambda start: folder.blocks(images.slice(start)), k, metric
    )
    one, other = (images["path"].take(pa.array(column)) for column in places.T)
    closest = pa.table({"path": one, "other": other, "distance": found})
    return Duplicates(metric, folder.name, same, closest)


class _Folder:
    """The last run's images with their features.

    Attributes:
        name: text of the path of the scanned folder.
        images: `Results.current`, in the order in which the parts are read.
    """

    def __init__(self, out: Place) -> None:
        self._results = find_results(out)
        self._run = self._results.last_finished()
        self.name = self._run.folder
        images = self._results.current()
        if not images.num_rows or not pc.all(images["has_features"]).as_py():
            raise UsageError(f"{out} holds images without features; run again with --features.")
        self.images = images.sort_by([("part", "ascending"), ("row", "ascending")])

    def blocks(self, images: pa.Table) -> Iterator[Floats]:
        """The features of some of the images, part by part."""
        for part in self._results.parts.read(images, ["features"]):
            yield matrix(part["features"])

    def labelled(self, rows: pa.Table) -> pa.Table:
        """``path``, ``label`` and ``distance`` of a few rows of images."""
        parts = self._results.parts.read(rows, ["path", "label"])
        labels = {row["path"]: row["label"] for part in parts for row in part.to_pylist()}
        label = [labels[path] for path in rows["path"].to_pylist()]
        kinds = pa.array(label, pa.string())
        return pa.table({"path": rows["path"], "label": kinds, "distance": rows["distance"]})

    def distinct(self) -> tuple[pa.Table, list[list[str]]]:
        """The images without copies, and the paths of each group of copies."""
        parts = self._results.parts.read(self.images, ["path", "content"])
        rows = pa.concat_tables(parts).append_column("place", pa.array(range(self.images.num_rows)))
        groups = rows.sort_by("path").group_by("content", use_threads=False)
        groups = groups.aggregate([("place", "first"), ("path", "list")])
        same = [paths for paths in groups["path_list"].to_pylist() if len(paths) > 1]
        return self.images.take(groups["place_first"].combine_chunks().sort()), same

    def place(self, image: Place) -> str | None:
        """The path of an image within the results; None for one that lies elsewhere.

        Raises:
            UsageError: there is no such image.
        """
        if is_remote(image):
            text = to_text(str(image).removeprefix(f"{from_text(self._run.folder)}/"))
            if pc.index(self.images["path"], text).as_py() >= 0:
                return text
            raise UsageError(
                f"there is no image {image} in {self._results.out}; give one that is, or a file of "
                "this machine."
            )
        image = Path(str(image))
        there = os.path.lexists(image)
        name = os.path.join(os.path.realpath(image.parent), image.name)  # noqa: PTH118
        name = os.path.relpath(name, from_text(self._run.folder)) if there else str(image)
        text = to_text(name.replace(os.sep, "/"))
        if pc.index(self.images["path"], text).as_py() >= 0:
            return text
        if image.is_dir():
            raise UsageError(f"{image} is a folder; give an image.")
        if not there:
            raise UsageError(
                f"there is no image {image}, neither a file nor in {self._results.out}; check its "
                "name."
            )
        return None

    def file(self, image: Place) -> str:
        """The path of an image, relative to the scanned folder or absolute."""
        return self.place(image) or to_text(os.path.realpath(str(image)))

    def vectors(self, images: Sequence[Place], model: Place | None) -> Floats:
        """Features of images, float32 [N, D]: recorded ones, or else computed by the model."""
        places = [self.place(image) or self._copy(image) for image in images]
        recorded = pa.array([place for place in places if place is not None], pa.string())
        rows = self.images.filter(pc.is_in(self.images["path"], value_set=recorded))
        found = dict(
            zip(rows["path"].to_pylist(), itertools.chain(*self.blocks(rows)), strict=True)
        )
        new = [image for image, place in zip(images, places, strict=True) if place is None]
        computed: Iterator[Floats] = iter(self._computed(new, model) if new else ())
        return np.stack([next(computed) if place is None else found[place] for place in places])

    def _copy(self, image: Place) -> str | None:
        """The path of an image of the results that has the content of a file elsewhere."""
        try:
            content = xxhash.xxh3_128_hexdigest(load(str(image))[0])
        except ImageError:  # computing its features will tell
            return None
        for part in self._results.parts.read(self.images, ["path", "content"]):
            row = pc.index(part["content"], content).as_py()
            if row >= 0:
                return str(part["path"][row])
        return None

    def _computed(self, images: Sequence[Place], path: Place | None) -> Floats:
        from boatinfer.models.model import open_model

        model, run = open_model(path), self._run
        if model.digest != run.model:
            which = "the built-in model" if path is None else str(path)
            raise ModelError(
                f"{images[0]} is not in {self._results.out}, and {which} is not the model of "
                f"these results, {run.model_name} ({run.model[:12]}); give it with -m."
            )
        with IsolatedReader(PixelReader(model.card.image)) as reader:
            read = reader.map([Path(str(image)) for image in images])
        for image, pixels in zip(images, read, strict=True):
            if isinstance(pixels, ImageError):
                raise UsageError(f"{image}: {pixels}")
        features = model.predict([p for p in read if not isinstance(p, ImageError)]).features
        assert features is not None  # the results have some, of this model
        return features

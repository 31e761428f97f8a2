"""``boatinfer similar``: images whose feature vectors are close to each other."""

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
    """The nearest neighbours of an image.

    Attributes:
        image: the image.
        metric: the distance.
        compared: number of images compared.
        folder: the folder that paths are relative to.
        file: path of the image, relative to the folder or absolute.
        matches: ``path``, ``label`` and ``distance``, nearest first.
    """

    image: str
    metric: Metric
    compared: int
    folder: str
    file: str
    matches: pa.Table

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        rows = self.matches.to_pylist()
        return {"image": self.image, "metric": self.metric, "among": self.compared, "nearest": rows}

    def text(self) -> str:
        """For a terminal."""
        rows = [(r["label"], r["path"], f"{r['distance']:.4g}") for r in self.matches.to_pylist()]
        heading = f"nearest to {printable(self.image)} among {counted(self.compared, 'image')}"
        lines = table([("class", "image", self.metric.value), *rows], names=2)
        return "\n".join([heading, *lines])


@dataclass(frozen=True)
class Pairs:
    """Distances between a few images.

    Attributes:
        images: the N images.
        metric: the distance.
        folder: the folder that paths are relative to.
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
        distances = self.distances.tolist()
        return {"images": self.images, "metric": self.metric, "distances": distances}

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
        copies: paths of each group of files with the same content.
        closest: ``path``, ``other`` and ``distance`` of the closest pairs of different
            content, closest first; of each group of the same the first counts.
    """

    metric: Metric
    folder: str
    copies: list[list[str]]
    closest: pa.Table

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"metric": self.metric, "same": self.copies, "closest": self.closest.to_pylist()}

    def text(self) -> str:
        """For a terminal."""
        rows = [(r["path"], r["other"], f"{r['distance']:.4g}") for r in self.closest.to_pylist()]
        copies = ["  " + printable("  ".join(group)) for group in self.copies]
        return "\n".join(
            [
                f"files of the same content: {len(copies) or 'none'}",
                *copies,
                "closest pairs of different content",
                *table([("image", "other image", self.metric.value), *rows], names=2),
            ]
        )


def similar(options: SimilarOptions) -> Nearest | Pairs | Duplicates:
    """Runs the search that the options select.

    Raises:
        UsageError: the options are contradictory, or there is no such image or no features.
        ModelError: the model for an image outside the results is not that of the results.
        OutputError: the results are damaged.
    """
    paths, metric = options.paths, options.metric
    if options.pairs and options.duplicates:
        raise UsageError("give either --pairs or --duplicates, not both.")
    if options.duplicates:
        if len(paths) != 1:
            raise UsageError("--duplicates takes one results folder: similar OUT --duplicates.")
        return duplicates(
            paths[0], options.k, metric, without=options.without, min_gap=options.min_gap
        )
    if options.without or options.min_gap:
        raise UsageError("--without and --min-gap are for --duplicates; leave them out.")
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
    """Finds the images of a results folder that are nearest to an image, which is left out.

    Args:
        image: a file, or a path from predictions.csv.
        out: a results folder of a run with features.
        k: number of images.
        metric: the distance.
        model: the model file of the results, for an image that is not in them; None means the
            built-in one.
    """
    folder = _Folder(out)
    (query,) = folder.vectors([image], model)
    candidates = folder.images
    own_path = folder.path_of(image)
    if own_path is not None:
        candidates = candidates.filter(pc.not_equal(candidates["path"], own_path))
    indices, found_distances = neighbours.nearest(folder.blocks(candidates), query, k, metric)
    rows = candidates.take(pa.array(indices)).append_column("distance", pa.array(found_distances))
    name, file = to_text(str(image)), folder.file(image)
    matches = folder.labelled(rows)
    return Nearest(name, metric, candidates.num_rows, folder.name, file, matches)


def pairs(
    out: Place,
    images: Sequence[Place],
    metric: Metric = Metric.EUCLIDEAN,
    model: Place | None = None,
) -> Pairs:
    """Computes the distances between a few images; the arguments are as for `nearest`."""
    folder = _Folder(out)
    distances = neighbours.matrix_of_distances(folder.vectors(images, model), metric)
    names, files = [to_text(str(image)) for image in images], [folder.file(i) for i in images]
    return Pairs(names, metric, folder.name, files, distances)


def duplicates(
    out: Place,
    k: int = 20,
    metric: Metric = Metric.EUCLIDEAN,
    *,
    without: Sequence[str] = (),
    min_gap: float = 0.0,
) -> Duplicates:
    """Finds the files of the same content, and the k closest pairs of images of other content.

    Every image is compared with every other, so the time grows with the square of their number.

    Args:
        out: a results folder of a run with features.
        k: number of pairs.
        metric: the distance.
        without: predicted classes whose images are left out of the pairs.
        min_gap: pairs of images whose files were changed less than this apart are left out, in
            seconds.
    """
    folder = _Folder(out)
    images, copies = folder.distinct()
    if without:
        images = folder.without_classes(images, without)
    times = images["mtime_ns"].to_numpy()
    indices, found_distances = neighbours.closest_pairs(
        lambda start: folder.blocks(images.slice(start)),
        k,
        metric,
        lambda first, second: np.abs(times[first][:, None] - times[second]) >= min_gap * 1e9,
    )
    first, second = (images["path"].take(pa.array(column)) for column in indices.T)
    closest = pa.table({"path": first, "other": second, "distance": found_distances})
    return Duplicates(metric, folder.name, copies, closest)


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
        """The features of images, part by part."""
        for part in self._results.parts.read(images, ["features"]):
            yield matrix(part["features"])

    def labelled(self, rows: pa.Table) -> pa.Table:
        """``path``, ``label`` and ``distance`` of rows of images."""
        parts = self._results.parts.read(rows, ["path", "label"])
        labels = {row["path"]: row["label"] for part in parts for row in part.to_pylist()}
        label = [labels[path] for path in rows["path"].to_pylist()]
        labels_column = pa.array(label, pa.string())
        return pa.table(
            {"path": rows["path"], "label": labels_column, "distance": rows["distance"]}
        )

    def without_classes(self, images: pa.Table, classes: Sequence[str]) -> pa.Table:
        """The images that are not of these predicted classes.

        Raises:
            UsageError: the model has no such class.
        """
        unknown = [name for name in classes if name not in self._run.classes]
        if unknown:
            names = printable(", ".join(self._run.classes))
            raise UsageError(f"--without {unknown[0]}: the classes are {names}.")
        parts = self._results.parts.read(images, ["label"])
        labels = pa.concat_tables(parts)["label"].combine_chunks()
        left_out = pc.is_in(labels, value_set=pa.array(classes, pa.string()))
        return images.filter(pc.invert(left_out))

    def distinct(self) -> tuple[pa.Table, list[list[str]]]:
        """The images without copies, and the paths of each group of copies."""
        parts = self._results.parts.read(self.images, ["path", "content"])
        rows = pa.concat_tables(parts).append_column("place", pa.array(range(self.images.num_rows)))
        groups = rows.sort_by("path").group_by("content", use_threads=False)
        groups = groups.aggregate([("place", "first"), ("path", "list")])
        copies = [paths for paths in groups["path_list"].to_pylist() if len(paths) > 1]
        return self.images.take(groups["place_first"].combine_chunks().sort()), copies

    def path_of(self, image: Place) -> str | None:
        """The path of an image within the results; None for an image outside them.

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
        exists = os.path.lexists(image)
        name = os.path.join(os.path.realpath(image.parent), image.name)  # noqa: PTH118
        name = os.path.relpath(name, from_text(self._run.folder)) if exists else str(image)
        text = to_text(name.replace(os.sep, "/"))
        if pc.index(self.images["path"], text).as_py() >= 0:
            return text
        if image.is_dir():
            raise UsageError(f"{image} is a folder; give an image.")
        if not exists:
            raise UsageError(
                f"there is no image {image}, neither a file nor in {self._results.out}; check its "
                "name."
            )
        return None

    def file(self, image: Place) -> str:
        """The path of an image, relative to the scanned folder or absolute."""
        return self.path_of(image) or to_text(os.path.realpath(str(image)))

    def vectors(self, images: Sequence[Place], model: Place | None) -> Floats:
        """Features of images, float32 [N, D]: recorded, or else computed by the model."""
        paths = [self.path_of(image) or self._copy(image) for image in images]
        recorded_paths = pa.array([path for path in paths if path is not None], pa.string())
        rows = self.images.filter(pc.is_in(self.images["path"], value_set=recorded_paths))
        recorded_features = dict(
            zip(rows["path"].to_pylist(), itertools.chain(*self.blocks(rows)), strict=True)
        )
        missing = [image for image, path in zip(images, paths, strict=True) if path is None]
        computed: Iterator[Floats] = iter(self._compute(missing, model) if missing else ())
        return np.stack(
            [next(computed) if path is None else recorded_features[path] for path in paths]
        )

    def _copy(self, image: Place) -> str | None:
        """The path of an image of the results with the same content as a file outside them."""
        try:
            content = xxhash.xxh3_128_hexdigest(load(str(image))[0])
        except ImageError:  # `_compute` reports it
            return None
        for part in self._results.parts.read(self.images, ["path", "content"]):
            row = pc.index(part["content"], content).as_py()
            if row >= 0:
                return str(part["path"][row])
        return None

    def _compute(self, images: Sequence[Place], path: Place | None) -> Floats:
        from boatinfer.models.model import open_model

        model, run = open_model(path), self._run
        if model.digest != run.model:
            model_text = "the built-in model" if path is None else str(path)
            raise ModelError(
                f"{images[0]} is not in {self._results.out}, and {model_text} is not the model of "
                f"these results, {run.model_name} ({run.model[:12]}); give it with -m."
            )
        with IsolatedReader(PixelReader(model.card.image)) as reader:
            pixel_arrays = reader.map([Path(str(image)) for image in images])
        for image, pixels in zip(images, pixel_arrays, strict=True):
            if isinstance(pixels, ImageError):
                raise UsageError(f"{image}: {pixels}")
        features = model.predict(
            [p for p in pixel_arrays if not isinstance(p, ImageError)]
        ).features
        assert features is not None  # the results have some, of this model
        return features

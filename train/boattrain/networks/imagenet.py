"""ResNet50's published ImageNet weights and class names, from where Keras keeps them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import typer

from boatinfer.errors import UsageError, first_line
from boatinfer.storage.documents import DocumentError, read_document
from boattrain.backend import load_keras

__all__ = ["CLASS_INDEX", "NO_TOP", "TOP", "Published", "class_names", "fetch", "resnet50"]

#: Of ImageNet's pixels: red, green, blue.
_MEAN = (123.68, 116.779, 103.939)

_PLACE = "https://storage.googleapis.com/"


class Published(NamedTuple):
    """A file that the makers of Keras publish.

    Attributes:
        what: what it is, for people.
        name: its name in Keras's cache, and the end of its address.
        folder: the rest of its address.
        md5: of its content, hex.
    """

    what: str
    name: str
    folder: str
    md5: str

    @property
    def address(self) -> str:
        """Where it can be had."""
        return _PLACE + self.folder + self.name

    @property
    def path(self) -> Path:
        """Where Keras keeps it."""
        return _keras_home() / "models" / self.name


NO_TOP = Published(
    "the ImageNet weights of ResNet50 without its top",
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "tensorflow/keras-applications/resnet/",
    "4d473c1dd8becc155b73f8504c6f6626",
)
TOP = Published(
    "the ImageNet weights of ResNet50",
    "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
    "tensorflow/keras-applications/resnet/",
    "2cb95161c43110f7111970584f804107",
)
CLASS_INDEX = Published(
    "the names of ImageNet's classes",
    "imagenet_class_index.json",
    "download.tensorflow.org/data/",
    "c2c37ea517e94d9795004a39431a14cb",
)


def fetch(file: Published, instead: str = "") -> Path:
    """Finds a published file in Keras's cache, or has Keras download it there.

    A file of that name with other content is taken, and a line on standard error says so.

    Args:
        file: which.
        instead: what else the user may do, for the error.

    Raises:
        UsageError: it is not there and cannot be downloaded.
    """
    if not file.path.exists():
        keras = load_keras()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # its progress
                keras.utils.get_file(
                    file.name,
                    file.address,
                    file_hash=file.md5,
                    cache_subdir="models",
                    cache_dir=str(_keras_home()),
                )
        except Exception as error:  # urllib raises a dozen kinds, Keras its own
            raise UsageError(
                f"bring {file.address} to {file.path}{instead}: {file.what} are not there, where "
                f"Keras looks for them, and cannot be downloaded ({first_line(error)})."
            ) from error
    elif hashlib.md5(file.path.read_bytes(), usedforsecurity=False).hexdigest() != file.md5:
        typer.echo(
            f"{file.path} is not the file that Keras publishes; it is taken as it is", err=True
        )
    return file.path


def _load_weights(model: Any, path: Path, what: str) -> None:
    """Loads weights into a model that they must fit.

    Args:
        model: a Keras model.
        path: an HDF5 file, as ``save_weights`` writes or Keras publishes, or a model's file.
        what: names the model in the error.

    Raises:
        UsageError: the file is damaged or of another network.
    """
    if path.suffix not in {".h5", ".keras"}:
        raise UsageError(f"the file of weights {path} must end in .h5, .weights.h5 or .keras.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a hundred lines, of which the error is the sum
            model.load_weights(path)
    except OSError as error:
        raise UsageError(
            f"the weights {path} are damaged or no HDF5 file; give {what} another file."
        ) from error
    except Exception as error:  # Keras raises whatever it stumbles over
        raise UsageError(
            f"the weights {path} do not fit {what} ({first_line(error).rstrip(' :.')}); give a "
            "file that was saved from the same layers."
        ) from error


def resnet50(image: Any, weights: Path | None, *, top: bool) -> Any:
    """Builds ResNet50 with its preprocessing.

    That is Keras's ``resnet50.preprocess_input`` in two parts: a layer subtracts the mean, and
    the first kernel takes RGB, because its channels, which are BGR, are turned around once.

    Args:
        image: Keras tensor [N, H, W, 3], RGB, 0 to 255.
        weights: its file of weights; None leaves them to chance.
        top: with its 1,000 classes; otherwise its output is the last map
            [N, H/32, W/32, 2048].

    Returns:
        A Keras model whose layers have the names that Keras gives them.

    Raises:
        UsageError: the file does not hold the weights of this network.
    """
    keras = load_keras()
    centred = keras.layers.Rescaling(1.0, offset=[-mean for mean in _MEAN])(image)
    model = keras.applications.ResNet50(weights=None, include_top=top, input_tensor=centred)
    if weights is not None:
        what = "with its 1,000 classes" if top else "without its top"
        _load_weights(model, weights, f"ResNet50 {what}")
        kernel = model.get_layer("conv1_conv").kernel  # [rows, columns, BGR, filters]
        kernel.assign(kernel[:, :, ::-1])
    return model


def class_names() -> list[str]:
    """Names ImageNet's 1,000 classes, in output order.

    They are those that Keras's ``decode_predictions`` prints; of two classes with the same
    name each gets its WordNet number behind it.

    Raises:
        UsageError: the list is not there and cannot be downloaded, or is damaged.
    """
    path = fetch(CLASS_INDEX)
    try:
        index = read_document(path, dict[str, tuple[str, str]])
        entries = [index[str(place)] for place in range(1000)]
        counts = Counter(name for _, name in entries)
    except (OSError, DocumentError, KeyError) as error:
        raise UsageError(f"{path} is no list of ImageNet's classes; remove it.") from error
    return [name if counts[name] == 1 else f"{name} ({number})" for number, name in entries]


def _keras_home() -> Path:
    """The cache folder that Keras documents: ``KERAS_HOME``, or ``.keras`` in the home."""
    home = os.environ.get("KERAS_HOME")
    return Path(home or os.path.expanduser("~/.keras"))  # noqa: PTH111 (never raises)

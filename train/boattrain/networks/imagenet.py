"""ResNet50 with the ImageNet weights and class names that Keras publishes."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from boatinfer.errors import UsageError, first_line
from boatinfer.storage.documents import DocumentError, read_document
from boattrain.backend import load_keras

__all__ = [
    "CLASS_INDEX",
    "RESNET50_NO_TOP",
    "RESNET50_TOP",
    "PublishedFile",
    "build_resnet50",
    "fetch",
    "imagenet_class_names",
]

#: Mean of ImageNet pixels: red, green, blue.
_MEAN = (123.68, 116.779, 103.939)

_BASE_URL = "https://storage.googleapis.com/"

_log = logging.getLogger(__name__)


class PublishedFile(NamedTuple):
    """A file published by Keras.

    Attributes:
        description: description for messages.
        name: file name, in the Keras cache and at the end of the URL.
        url_folder: path of the URL, up to the file name.
        md5: MD5 of the content, in hex.
    """

    description: str
    name: str
    url_folder: str
    md5: str

    @property
    def url(self) -> str:
        """URL of the file."""
        return _BASE_URL + self.url_folder + self.name

    @property
    def path(self) -> Path:
        """Path of the file in the Keras cache."""
        return _keras_home() / "models" / self.name


RESNET50_NO_TOP = PublishedFile(
    "the ImageNet weights of ResNet50 without its top",
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "tensorflow/keras-applications/resnet/",
    "4d473c1dd8becc155b73f8504c6f6626",
)
RESNET50_TOP = PublishedFile(
    "the ImageNet weights of ResNet50",
    "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
    "tensorflow/keras-applications/resnet/",
    "2cb95161c43110f7111970584f804107",
)
CLASS_INDEX = PublishedFile(
    "the names of ImageNet's classes",
    "imagenet_class_index.json",
    "download.tensorflow.org/data/",
    "c2c37ea517e94d9795004a39431a14cb",
)


def fetch(file: PublishedFile, alternative: str = "") -> Path:
    """Returns the path of a published file in the Keras cache, after downloading it if needed.

    A file of that name with other content is used, with a warning.

    Args:
        file: the file.
        alternative: what the user may do instead, for the error message.

    Raises:
        UsageError: the file is not in the cache and cannot be downloaded.
    """
    if not file.path.exists():
        keras = load_keras()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # its progress bar
                keras.utils.get_file(
                    file.name,
                    file.url,
                    file_hash=file.md5,
                    cache_subdir="models",
                    cache_dir=str(_keras_home()),
                )
        except Exception as error:  # of many types, from urllib and Keras
            raise UsageError(
                f"{file.description} cannot be downloaded ({first_line(error)}); copy {file.url} "
                f"to {file.path}{alternative}."
            ) from error
    elif hashlib.md5(file.path.read_bytes(), usedforsecurity=False).hexdigest() != file.md5:
        _log.warning("%s is not the file that Keras publishes; it is used as it is", file.path)
    return file.path


def _load_weights(model: Any, path: Path, description: str) -> None:
    """Loads weights into a model.

    Args:
        model: a Keras model.
        path: an HDF5 file, as of ``save_weights`` or as published by Keras, or a ``.keras`` file.
        description: name of the model, for the error message.

    Raises:
        UsageError: the file is damaged, or has the weights of another network.
    """
    if path.suffix not in {".h5", ".keras"}:
        raise UsageError(f"the weights file {path} must end in .h5, .weights.h5 or .keras.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # many, summed up by the error
            model.load_weights(path)
    except OSError as error:
        raise UsageError(
            f"the weights {path} are damaged or not an HDF5 file; give another file for "
            f"{description}."
        ) from error
    except Exception as error:  # Keras raises many types
        raise UsageError(
            f"the weights {path} do not fit {description} "
            f"({first_line(error).rstrip(' :.')}); give "
            "a file saved from the same layers."
        ) from error


def build_resnet50(image: Any, weights: Path | None, *, top: bool) -> Any:
    """Builds ResNet50 with its preprocessing.

    The preprocessing is that of ``keras.applications.resnet50.preprocess_input``: a layer
    subtracts the mean; instead of converting RGB to BGR, the channels of the first kernel are
    reversed.

    Args:
        image: Keras tensor [N, H, W, 3], RGB, 0 to 255.
        weights: weights file; None for random initialisation.
        top: whether to include the head of 1,000 classes; if not, the output is the last
            feature map [N, H/32, W/32, 2048].

    Returns:
        A Keras model with the layer names of ``keras.applications``.

    Raises:
        UsageError: the file does not hold the weights of this network.
    """
    keras = load_keras()
    centred = keras.layers.Rescaling(1.0, offset=[-mean for mean in _MEAN])(image)
    model = keras.applications.ResNet50(weights=None, include_top=top, input_tensor=centred)
    if weights is not None:
        description = "with its 1,000 classes" if top else "without its top"
        _load_weights(model, weights, f"ResNet50 {description}")
        kernel = model.get_layer("conv1_conv").kernel  # [rows, columns, BGR, filters]
        kernel.assign(kernel[:, :, ::-1])
    return model


def imagenet_class_names() -> list[str]:
    """Returns the names of the 1,000 ImageNet classes, in output order.

    The names are those of ``decode_predictions`` in Keras; if two classes have the same name,
    the WordNet ID is appended to both.

    Raises:
        UsageError: the list is missing and cannot be downloaded, or is damaged.
    """
    path = fetch(CLASS_INDEX)
    try:
        index = read_document(path, dict[str, tuple[str, str]])
        entries = [index[str(position)] for position in range(1000)]
        counts = Counter(name for _, name in entries)
    except (OSError, DocumentError, KeyError) as error:
        raise UsageError(f"{path} is not the list of ImageNet classes; remove it.") from error
    return [name if counts[name] == 1 else f"{name} ({wordnet_id})" for wordnet_id, name in entries]


def _keras_home() -> Path:
    """Returns the Keras folder: ``KERAS_HOME``, or ``.keras`` in the home folder."""
    home = os.environ.get("KERAS_HOME")
    return Path(home or os.path.expanduser("~/.keras"))  # noqa: PTH111 (never raises)

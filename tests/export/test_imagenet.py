"""ResNet50 with the 1,000 classes of ImageNet, with made weights of the published layout."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import colours
from boatexport.exporting import export_model
from boatexport.options import ExportOptions
from boatexport.verify import probability_tolerance
from boatinfer import images
from boatinfer.images.spec import ImageSpec
from boatinfer.models.model import Model, open_model
from boattrain.backend import load_keras
from boattrain.networks.imagenet import CLASS_INDEX, RESNET50_TOP, imagenet_class_names
from support import Command, Trained

#: One process exports the network, for all tests.
pytestmark = pytest.mark.xdist_group("imagenet")

#: Two classes of one name, as cranes and maillots are.
INDEX = {str(n): [f"n{n:08}", f"thing_{n}" if n not in {7, 42} else "crane"] for n in range(1000)}

PICTURES = [colours.picture(name, seed) for seed, name in enumerate(colours.CLASSES)]


class Made(NamedTuple):
    """A folder of Keras's with made files, the network in it, and its export."""

    home: Path
    network: Any
    model: Model


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    return load_keras()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, keras: ModuleType) -> Iterator[Made]:
    home = tmp_path_factory.mktemp("keras")
    (home / "models").mkdir()
    (home / "models" / CLASS_INDEX.name).write_text(json.dumps(INDEX))
    network = _network(keras)
    _write_weights(network, home / "models" / RESNET50_TOP.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(home))
        output = home / "resnet50.onnx"
        export_model(ExportOptions(Path("resnet50-imagenet"), output))
    yield Made(home, network, open_model(output))


def _network(keras: ModuleType) -> Any:
    """A ResNet50 whose values are of a trained one's size, which random weights alone are not."""
    keras.utils.set_random_seed(1)
    network = keras.applications.ResNet50(weights=None)
    norms = [layer for layer in network.layers if hasattr(layer, "moving_mean")]
    for layer in norms:
        layer.momentum = 0.0
    network(_prepared(keras, [images.read(p, _spec()) for p in PICTURES]), training=True)
    head = network.get_layer("predictions").kernel
    head.assign(head * 4)
    return network


def _write_weights(network: Any, path: Path) -> None:
    """Writes the format that Keras publishes its weights in."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


def _prepared(keras: ModuleType, pixels: list[images.Pixels]) -> Any:
    return keras.applications.resnet50.preprocess_input(np.stack(pixels).astype(np.float32))


def _spec() -> ImageSpec:
    return ImageSpec(height=224, width=224, resize="bilinear")


def test_classify_prints_what_decode_predictions_gives(
    made: Made,
    keras: ModuleType,
    boatinfer: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from keras.src.applications import imagenet_utils

    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", INDEX)
    pixels = [images.read(picture, made.model.card.image) for picture in PICTURES]
    scores = np.asarray(made.network(_prepared(keras, pixels), training=False))
    assert scores.max(axis=1).min() > 0.01  # not all alike
    decoded = keras.applications.resnet50.decode_predictions(scores, top=5)
    paths = [tmp_path / f"{number}.jpg" for number in range(len(PICTURES))]
    for path, picture in zip(paths, PICTURES, strict=True):
        path.write_bytes(picture)
    done = boatinfer("classify", *paths, "-m", made.model.path)
    assert done.code == 0, done.err
    printed = re.findall(r"^ +([\d.]+)%  (\S+)(?: \((\S+)\))?$", done.out, re.MULTILINE)
    wanted = [row for rows in decoded for row in rows]
    assert [name for _, name, _ in printed] == [name for _, name, _ in wanted]
    for (percent, name, synset), (id_, _, score) in zip(printed, wanted, strict=True):
        assert float(percent) == pytest.approx(100 * score, abs=0.051)
        assert synset == (id_ if name == "crane" else "")


def test_the_run_keeps_the_pooled_features(
    made: Made, keras: ModuleType, boatinfer: Command, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(PICTURES):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(picture)
    out = tmp_path / "out"
    done = boatinfer(
        "run", tmp_path / "photos", "-m", made.model.path, "--features", "-o", out, "--quiet"
    )
    assert done.code == 0, done.err
    assert boatinfer("features", out, "-o", tmp_path / "features.npy").code == 0
    network = made.network
    pooled = keras.Model(network.inputs[0], network.get_layer("avg_pool").output)
    pixels = [images.read(picture, made.model.card.image) for picture in PICTURES]
    expected = np.asarray(pooled(_prepared(keras, pixels), training=False))
    found = np.load(tmp_path / "features.npy")
    assert found.shape == (3, 2048)
    # Fifty layers round by 1e-4 of the largest, by more or less on other processors; other
    # pixels or weights would be hundreds of times that.
    assert np.allclose(found, expected, atol=5e-4 * np.abs(expected).max())


def test_rounding_is_allowed_for_by_depth(made: Made, keras: ModuleType) -> None:
    shallow = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    assert probability_tolerance(shallow) == 1e-5
    assert probability_tolerance(made.network) == 1e-4


def test_the_card_says_what_it_is(made: Made) -> None:
    card = made.model.card
    assert (card.name, card.precision) == ("resnet50-imagenet", "float32")
    assert (card.image.height, card.image.width, card.input.dtype) == (224, 224, "uint8")
    assert card.notes.endswith(RESNET50_TOP.name)
    assert [card.classes[n] for n in (6, 7, 42)] == [
        "thing_6",
        "crane (n00000007)",
        "crane (n00000042)",
    ]
    assert 1 <= len(made.model.golden.images) <= 4


def test_the_real_class_index_gives_a_thousand_different_names(
    mardct: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    index = mardct.parent / "imagenet" / CLASS_INDEX.name
    if not index.exists():
        pytest.skip(f"{index.name} does not lie beside the boats")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / index.name).symlink_to(index)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    names = imagenet_class_names()
    assert capsys.readouterr().err == ""  # it is the published one
    assert len(set(names)) == 1000
    assert (names[0], names[134], names[999]) == ("tench", "crane (n02012849)", "toilet_tissue")


def test_without_network_it_says_what_goes_where(
    boatinfer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("boattrain.networks.imagenet._BASE_URL", "http://127.0.0.1:9/")
    output = tmp_path / "x.onnx"
    some = tmp_path / "some.h5"
    some.touch()
    for options, file in (([], RESNET50_TOP), (["--weights", some], CLASS_INDEX)):
        done = boatinfer("export", "resnet50-imagenet", *options, "-o", output)
        assert (done.code, done.out, output.exists()) == (2, "", False)
        (said,) = [line for line in done.err.splitlines() if line.startswith("boatinfer:")]
        path = tmp_path / "home" / "models" / file.name
        assert said.startswith(f"boatinfer: {file.description} cannot be downloaded (")
        assert f"copy {file.url} to {path}" in said


def test_weights_that_do_not_fit_are_one_sentence(
    made: Made,
    trained: Trained,
    boatinfer: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import h5py

    monkeypatch.setenv("KERAS_HOME", str(made.home))
    whole = made.home / "models" / RESNET50_TOP.name
    truncated, other = tmp_path / "truncated.h5", tmp_path / "other.h5"
    truncated.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with h5py.File(other, "w") as file:
        file.attrs["layer_names"] = np.array([b"dense"])
        file.create_group("dense").attrs["weight_names"] = np.array([b"kernel"])
        file["dense/kernel"] = np.zeros((2, 3), np.float32)
    output = tmp_path / "x.onnx"
    calls: list[tuple[list[Any], int, str]] = [
        (
            ["resnet50-imagenet", "--weights", truncated],
            2,
            "are damaged or not an HDF5 file; give another file for ResNet50 with its 1,000",
        ),
        (
            ["resnet50-imagenet", "--weights", other],
            2,
            "do not fit ResNet50 with its 1,000 classes",
        ),
        (["resnet50-imagenet", "--weights", tmp_path / "none.h5"], 2, "there is no such file"),
        (["resnet50-imagenet", "--weights", tmp_path], 2, "there is no such file"),
        (["resnet50-imagenett"], 2, "or be resnet50-imagenet"),
        ([trained.output, "--weights", whole], 2, "--weights is for resnet50-imagenet"),
    ]
    for arguments, code, said in calls:
        done = boatinfer("export", *arguments, "-o", output)
        assert (done.code, done.out, output.exists()) == (code, "", False)
        (sentence,) = [line for line in done.err.splitlines() if line.startswith("boatinfer:")]
        assert said in sentence

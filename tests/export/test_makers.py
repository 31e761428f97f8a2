"""What `model describe` reads of what the makers of a model wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import colours
import networks
from boatexport.foreign.describing import DescribeResult, describe_model
from boatexport.foreign.makers.configs import class_names
from boatexport.foreign.makers.files import read_class_file
from boatexport.foreign.makers.torchvision import torchvision_recipe
from boatexport.options import DescribeOptions
from boatinfer.errors import UsageError
from boatinfer.models.card import Card
from boatinfer.models.model import open_model

NAMES = ",".join(networks.CLASSES)
IMAGENET = (1 / 255, networks.MEAN, networks.STD)
HALF = (1 / 255, (0.5,) * 3, (0.5,) * 3)
TIMM = {
    "architecture": "lite",
    "label_names": networks.CLASSES,
    "pretrained_cfg": {
        "input_size": [3, 20, 20],
        "crop_pct": 0.8,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": list(networks.MEAN),
        "std": list(networks.STD),
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    colours.write_pictures(tmp_path / "pictures", each=1)
    graph = networks.torch_layout()
    for axis in graph.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.dim_param = "free"
    networks.save(graph, tmp_path / "net.onnx")
    return tmp_path


def described(folder: Path, **options: Any) -> tuple[DescribeResult, Card]:
    output = folder / "described.onnx"
    options = dict[str, Any]({"force": True} | options)
    done = describe_model(
        DescribeOptions(folder / "net.onnx", output, folder / "pictures", **options)
    )
    return done, open_model(output).card


def write(folder: Path, name: str, document: Any) -> None:
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document))


def geometry(card: Card) -> dict[str, Any]:
    """What differs from the defaults."""
    image = card.image
    assert image.decode == "full"
    names = (*(n for n in image.later_fields if n not in {"decode", "resize"}), "resize", "fit")
    return {name: getattr(image, name) for name in names}


def pixels(card: Card) -> Any:
    return (card.input.scale, card.input.mean, card.input.std)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {"fit": "crop", "resize": "bicubic", "shorter_side": 25}),
        (
            {"crop_mode": "squash", "input_size": [3, 20, 36], "interpolation": "random"},
            {"fit": "stretch", "resize": "bilinear", "resize_to": (25, 45)},
        ),
        (
            {"input_size": [3, 20, 36]},
            {"fit": "crop", "resize": "bicubic", "resize_to": (25, 45)},
        ),
        (
            {"crop_mode": "border", "crop_pct": 1.0},
            {"fit": "pad", "resize": "bicubic", "pad_colour": (124, 116, 104)},
        ),
    ],
)
def test_timm(folder: Path, changes: Any, wanted: Any) -> None:
    document = TIMM | {"pretrained_cfg": TIMM["pretrained_cfg"] | changes}
    write(folder, "config.json", document)
    done, card = described(folder)
    assert geometry(card) == wanted
    assert pixels(card) == IMAGENET
    assert card.classes == networks.CLASSES
    assert ("classes", "4: red, green, blue, none", "from config.json") in done.facts


PROCESSORS: list[tuple[Any, Any, Any, tuple[int, int]]] = [
    (
        {"image_processor_type": "ViTImageProcessor", "size": 20, "resample": 2},
        {"fit": "stretch", "resize": "bilinear"},
        HALF,
        (20, 20),
    ),
    (
        {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 24},
            "crop_size": {"height": 20, "width": 20},
            "do_center_crop": True,
            "resample": 3,
            "image_mean": networks.MEAN,
            "image_std": networks.STD,
        },
        {"fit": "crop", "resize": "bicubic", "shorter_side": 24},
        IMAGENET,
        (20, 20),
    ),
    (
        {
            "feature_extractor_type": "DeiTFeatureExtractor",
            "size": 26,
            "crop_size": 20,
            "do_center_crop": True,
            "resample": 3,
        },
        {"fit": "stretch", "resize": "bicubic", "resize_to": (26, 26)},
        HALF,
        (20, 20),
    ),
    (
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 28}},
        {"fit": "crop", "resize": "bilinear", "shorter_side": 32},
        HALF,
        (28, 28),
    ),
    (
        {
            "image_processor_type": "EfficientNetImageProcessor",
            "size": {"height": 20, "width": 22},
            "resample": 0,
            "include_top": True,
        },
        {"fit": "stretch", "resize": "nearest"},
        (1 / 255, (0.5,) * 3, (0.25,) * 3),
        (20, 22),
    ),
]


@pytest.mark.parametrize(("document", "wanted", "normalised", "size"), PROCESSORS)
def test_hugging_face(
    folder: Path, document: Any, wanted: Any, normalised: Any, size: tuple[int, int]
) -> None:
    write(folder, "preprocessor_config.json", document)
    labels = {str(index): name for index, name in enumerate(networks.CLASSES)}
    write(folder, "config.json", {"id2label": labels, "model_type": "vit"})
    _, card = described(folder)
    assert geometry(card) == wanted
    assert pixels(card) == normalised
    assert (card.image.height, card.image.width) == size
    assert card.classes == networks.CLASSES


def test_weights_of_torchvision_by_name(folder: Path) -> None:
    name = "Swin_S_Weights.IMAGENET1K_V1"
    done, card = described(folder, config=name, classes=NAMES)
    assert geometry(card) == {"fit": "crop", "resize": "bicubic", "shorter_side": 246}
    assert (card.image.height, pixels(card)) == (224, IMAGENET)
    assert any(fact.source == f"from torchvision's {name}" for fact in done.facts)
    assert torchvision_recipe("ResNet50_Weights.DEFAULT") is None
    with pytest.raises(UsageError, match="weights of torchvision"):
        described(folder, config="ResNet50_Weights.DEFAULT", classes=NAMES)


LIKE: list[tuple[str, Any, Any]] = [
    ("timm", {"fit": "crop", "resize": "bicubic", "shorter_side": 22}, IMAGENET),
    ("torchvision", {"fit": "crop", "resize": "bilinear", "shorter_side": 23}, IMAGENET),
    ("huggingface", {"fit": "stretch", "resize": "bilinear"}, HALF),
    (
        "ultralytics",
        {"fit": "crop", "resize": "bilinear", "shorter_side": 20},
        (1 / 255, (0,) * 3, (1,) * 3),
    ),
    ("keras-tf", {"fit": "stretch", "resize": "nearest"}, (1, (127.5,) * 3, (127.5,) * 3)),
    ("keras-torch", {"fit": "stretch", "resize": "nearest"}, IMAGENET),
    (
        "keras-caffe",
        {"fit": "stretch", "resize": "nearest"},
        (1, (103.939, 116.779, 123.68), (1,) * 3),
    ),
]


@pytest.mark.parametrize(("like", "wanted", "normalised"), LIKE)
def test_like_a_tool(folder: Path, like: Any, wanted: Any, normalised: Any) -> None:
    _, card = described(folder, like=like, size="20", classes=NAMES)
    assert geometry(card) == wanted
    assert pixels(card) == normalised
    assert card.input.order == ("BGR" if like == "keras-caffe" else "RGB")


def test_options_change_what_the_makers_wrote(folder: Path) -> None:
    write(folder, "config.json", TIMM)
    done, card = described(folder, resize="lanczos", resize_to="30", std="1", classes="a,b,c,d")
    assert geometry(card) == {"fit": "crop", "resize": "lanczos", "shorter_side": 30}
    assert pixels(card) == (1 / 255, (0,) * 3, (1,) * 3)
    assert card.classes == ["a", "b", "c", "d"]
    assert "given, the rest from config.json" in {fact.source for fact in done.facts}
    _, card = described(folder, fit="pad", pad_colour="114", pad_side="end", antialias=False)
    assert geometry(card) == {
        "fit": "pad",
        "resize": "bilinear",
        "antialias": False,
        "pad_colour": (114,) * 3,
        "pad_side": "end",
    }
    _, card = described(folder, crop_pct=0.5, scale="1,2,4", mean="1", std="2")
    assert geometry(card) == {"fit": "crop", "resize": "bicubic", "shorter_side": 40}
    assert pixels(card) == (1, (1, 0.5, 0.25), (2, 1, 0.5))


def test_model_info_of_openvino(folder: Path) -> None:
    info = {
        "model_info labels": "red light_green blue none",
        "model_info mean_values": "123.675 116.28 103.53",
        "model_info scale_values": "58.395 57.12 57.375",
        "model_info resize_type": "fit_to_window",
        "model_info pad_value": "114",
        "model_info reverse_input_channels": "True",
    }
    networks.save(networks.torch_layout(), folder / "net.onnx", **info)
    _, card = described(folder)
    assert geometry(card) == {
        "fit": "pad",
        "resize": "bilinear",
        "antialias": False,
        "pad_colour": (114,) * 3,
        "pad_side": "end",
    }
    assert pixels(card) == (1, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert card.classes[1] == "light green"
    networks.save(networks.torch_layout(), folder / "net.onnx")
    items = "".join(f'<{key[11:]} value="{value}"/>' for key, value in info.items())
    write(folder, "net.xml", f"<net><rt_info><model_info>{items}</model_info></rt_info></net>")
    assert described(folder)[1] == card
    write(folder, "net.xml", "<!DOCTYPE x><net/>")
    with pytest.raises(UsageError, match="document type"):
        described(folder)


def test_labels_beside_the_model(folder: Path) -> None:
    write(folder, "labels.txt", "0 red\n1 green\n2 blue\n3 no class\n")
    done, card = described(folder, like="keras-tf", size="20")
    assert card.classes == ["red", "green", "blue", "no class"]
    assert "from labels.txt" in {fact.source for fact in done.facts}


def test_names_of_paddlex(folder: Path) -> None:
    networks.save(networks.torch_layout(), folder / "net.onnx", character="a\nb\nc\nd")
    assert described(folder, like="timm")[1].classes == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('["a", "b"]', ["a", "b"]),
        ('{"1": "b", "0": "a", "10": "c"}', ["a", "b", "c"]),
        ('{"0": ["n1", "tench"], "1": ["n2", "goldfish"]}', ["tench", "goldfish"]),
        ('{"cat": 0, "dog": 1}', ["cat", "dog"]),
        ('{"id2label": {"0": "x", "1": "y"}}', ["x", "y"]),
        ("0 a\n2 b\n", ["0 a", "2 b"]),
        ("a\nb\n\n", ["a", "b"]),
    ],
)
def test_files_of_class_names(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "names").write_text(text)
    assert read_class_file(tmp_path / "names", "--classes names") == names


@pytest.mark.parametrize("text", ['{"a": {"b": 1}}', '[["a"], {}]', '{"x": "y"}'])
def test_json_without_names_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(UsageError, match="not a list of names"):
        read_class_file(tmp_path / "names.json", "--classes names.json")
    assert class_names([]) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "{"),
        ("config.json", '{"pretrained_cfg": {"input_size": 3}}'),
        ("preprocessor_config.json", '{"size": {"width": 3}}'),
        ("preprocessor_config.json", '{"size": 3, "image_mean": [1, 2]}'),
    ],
)
def test_damaged_files_are_one_sentence(folder: Path, name: str, text: str) -> None:
    write(folder, name, text)
    with pytest.raises(UsageError, match=f"{name} cannot be used"):
        described(folder, like="timm", classes=NAMES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resize_to": "0x3"}, "write it like 224x224"),
        ({"resize_to": "20", "crop_pct": 0.5}, "say the same"),
        ({"crop_pct": 1.5}, "at most 1"),
        ({"pad_colour": "256"}, "from 0 to 255"),
        ({"crops": 3}, "give 1 or 5"),
        ({"crops": 5, "fit": "stretch"}, "five crops need"),
        ({"resize": "area", "antialias": False}, "no variant without antialias"),
        ({"resize_to": "20", "fit": "pad"}, "shorter_side needs the fit crop"),
        ({"config": "nowhere"}, "give a folder with config.json"),
        ({"threshold": "0.1,0.2", "multi_label": True}, "or 4, one per class"),
        ({"embedding": True}, "omit --classes"),
    ],
)
def test_options_that_contradict_are_one_sentence(folder: Path, options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        described(folder, size="20", **({"classes": NAMES, "like": "torchvision"} | options))

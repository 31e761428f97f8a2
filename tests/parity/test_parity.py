"""The same pixels as torchvision, timm, transformers and OpenCV, over photographs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for library in ("cv2", "efficientnet_lite_pytorch", "timm", "torch", "torchvision", "transformers"):
    pytest.importorskip(library)

from parity.comparing import agreement, described, photographs, reference  # noqa: E402
from parity.network import SIZE, write_network  # noqa: E402
from parity.pipelines import Pipeline, pipelines  # noqa: E402

PIPELINES = pipelines(SIZE)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    write_network(path)
    return path


@pytest.fixture(scope="session")
def photos() -> list[Path]:
    if "MARDCT" not in os.environ:
        pytest.skip("MARDCT does not name the photographs")
    return photographs(Path(os.environ["MARDCT"]) / "valid")


@pytest.mark.parametrize("pipeline", PIPELINES, ids=[p.name for p in PIPELINES])
def test_parity(pipeline: Pipeline, network: Path, photos: list[Path], tmp_path: Path) -> None:
    model = described(network, pipeline, photos, tmp_path)
    wanted = reference(network, pipeline, photos)
    found = agreement(model, "full", photos, wanted)
    assert found.top_1 == 1
    assert found.difference <= 1e-3

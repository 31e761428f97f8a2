from __future__ import annotations

from pathlib import Path

from boatinfer.dataset.labelled_images import find_images


def test_classes_and_files_are_sorted(data: Path) -> None:
    train, valid = find_images(data)

    assert train.classes == valid.classes == ["blue", "green", "red"]
    assert train.paths == sorted(train.paths)
    assert [train.classes[label] for label in valid.labels] == [
        path.parent.name for path in valid.paths
    ]

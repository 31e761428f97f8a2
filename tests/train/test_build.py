"""Training data with the answers of a review, and a training that goes on from a model."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import colours
from answered import HEADER, labels_file, row
from boatinfer.dataset.labelled_images import find_images, read_collection
from boatinfer.errors import BoatinferError
from boatinfer.results.labels import CANNOT_TELL, NONE_OF_THESE, SEVERAL, is_class
from boattrain.data.build import BuildResult, build
from boattrain.data.options import BuildOptions
from support import Command, drawing


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """A folder of 60 new pictures."""
    folder = tmp_path / "shots"
    folder.mkdir()
    for seed in range(60):
        (folder / f"{seed:02}.jpg").write_bytes(colours.picture("red", 5000 + seed))
    return folder


def built(
    data: Path, labels: Path, shots: Path, name: str = "data2", held_back: str = "20%"
) -> BuildResult:
    output = data.parent / name
    return build(BuildOptions(data, labels, output, images=shots, held_back=held_back))


def where(folder: Path) -> dict[bytes, tuple[str, ...]]:
    return {p.read_bytes(): p.relative_to(folder).parts[:2] for p in folder.rglob("*.jpg")}


def test_answers_are_added_and_held_back(data: Path, shots: Path, tmp_path: Path) -> None:
    paths = sorted(shots.iterdir())
    rows = [row(path, "green") for path in paths]
    rows += [row(paths[0], "violet"), row(paths[1], NONE_OF_THESE), row(paths[2], "green")]
    rows += [row(paths[3], "green", "random"), row(paths[4], "red", "random")]
    rows += [row(paths[3], "red")]
    labels = labels_file(tmp_path / "out", rows)
    result = built(data, labels, shots)

    found = where(tmp_path / "data2")
    before = where(data)
    assert {content: found[content] for content in before} == before
    assert found[paths[0].read_bytes()][1] == "violet"
    assert paths[1].read_bytes() not in found
    assert found[paths[3].read_bytes()] == ("test", "red")
    assert found[paths[4].read_bytes()] == ("test", "red")
    added = {path: found[path.read_bytes()][0] for path in paths if path != paths[1]}
    counts = Counter(added.values())
    assert set(counts) == {"train", "test"}
    assert 5 <= counts["test"] <= 22  # 2 at random and a fifth of 57
    assert (result.added, result.without_class, result.held_back) == (59, 1, counts["test"])
    assert result.classes == ["blue", "green", "red", "violet"]

    built(data, labels_file(tmp_path / "out", rows[::-1][:30]), shots, "again")
    again = where(tmp_path / "again")
    common = [p for p in paths if p.read_bytes() in again and p.read_bytes() in found]
    assert len(common) > 20
    assert all(again[p.read_bytes()][0] == found[p.read_bytes()][0] for p in common)


def test_an_image_of_the_base_is_corrected_where_it_is(
    data: Path, shots: Path, tmp_path: Path
) -> None:
    image = data / "valid/red/00.jpg"
    content = image.read_bytes()
    (shots / "copy.jpg").write_bytes(content)
    labels = labels_file(tmp_path / "out", [row(shots / "copy.jpg", "blue", "random")])
    result = built(data, labels, shots)
    assert (result.corrected, result.added) == (1, 0)
    assert where(tmp_path / "data2")[content] == ("valid", "blue")
    assert image.read_bytes() == content


def test_what_is_gone_or_changed_is_left_out_and_told(
    data: Path, shots: Path, tmp_path: Path, boatinfer: Command
) -> None:
    paths = sorted(shots.iterdir())
    rows = [row(path, "red") for path in paths[:4]]
    labels = labels_file(tmp_path / "out", rows)
    paths[0].unlink()
    paths[1].write_bytes(paths[2].read_bytes())
    arguments = ("--base", data, "--labels", labels, "--images", shots)
    done = boatinfer("data", "build", *arguments, "-o", tmp_path / "made", "--as-table")
    assert done.code == 0, done.err
    assert "1 labelled image is gone" in done.err
    assert "1 labelled image has changed" in done.err
    with (tmp_path / "made/data.csv").open() as file:
        table = list(csv.DictReader(file))
    assert sum(Path(line["path"]).parent == shots for line in table) == 2
    collection = read_collection(data, tmp_path / "made/data.csv")
    assert Counter(collection.splits)["valid"] == len(find_images(data)[1].paths)
    done = boatinfer("data", "build", "--base", data, "--labels", labels, "-o", tmp_path / "x")
    assert (done.code, "give their folder with --images" in done.err) == (2, True)


def test_the_folder_of_the_images_is_that_of_the_results(
    data: Path, shots: Path, tmp_path: Path, boatinfer: Command
) -> None:
    out = tmp_path / "out"
    assert boatinfer("run", shots, "-o", out, "--quiet").code == 0
    labels = labels_file(out, [row(path, "red") for path in shots.iterdir()])
    result = build(BuildOptions(data, labels, tmp_path / "made"))
    assert result.added == 60


def test_near_duplicates_of_the_base_go_where_it_is(
    data: Path, shots: Path, tmp_path: Path
) -> None:
    originals = {"train": 1, "valid": 2}
    for split, seed in originals.items():
        (data / split / "red/drawn.jpg").write_bytes(drawing(seed))
        (shots / f"{split}.jpg").write_bytes(drawing(seed, quality=50))
    (shots / "random.jpg").write_bytes(drawing(1, quality=40))
    rows = [row(shots / f"{split}.jpg", "red") for split in originals]
    rows.append(row(shots / "random.jpg", "red", "random"))
    result = built(data, labels_file(tmp_path / "out", rows), shots, held_back="99%")
    found = where(tmp_path / "data2")
    for split in originals:
        assert found[(shots / f"{split}.jpg").read_bytes()] == (split, "red")
    assert found[(shots / "random.jpg").read_bytes()] == ("test", "red")
    assert result.seen == 1


def test_a_new_class_goes_to_train(
    data: Path, shots: Path, tmp_path: Path, boatinfer: Command
) -> None:
    first, second, third = sorted(shots.iterdir())[:3]
    (shots / "base.jpg").write_bytes((data / "valid/red/00.jpg").read_bytes())
    rows = [row(first, "canoe"), row(second, "raft", "random"), row(shots / "base.jpg", "barge")]
    labels = labels_file(tmp_path / "out", [*rows, row(third, NONE_OF_THESE)])
    arguments = ("--base", data, "--labels", labels, "--images", shots, "--held-back", "99.9%")
    done = boatinfer("data", "build", *arguments, "-o", tmp_path / "made")
    assert done.code == 0, done.err
    found = where(tmp_path / "made")
    assert found[first.read_bytes()] == ("train", "canoe")
    assert found[second.read_bytes()] == ("test", "raft")
    lines = done.err.splitlines()
    assert lines[0].startswith("boatinfer: train has no image of barge: ")
    assert lines[1].startswith("boatinfer: train has no image of raft: ")
    assert lines[2:] == [
        "boatinfer: 1 answer is 'none of these', 'several' or 'cannot tell', and is left out."
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\n", "has no column content"),
        (f"{HEADER}\na.jpg,xyz,red,,,,,\n", "names the class of no image"),
        (f"{HEADER}\na.jpg,{'0' * 32},red\nb\n", "names the class of no image"),
        (f"{HEADER}\na.jpg,{'0' * 32},skip,,,,,\n", "names the class of no image"),
    ],
)
def test_answers_that_cannot_be_used(
    text: str, said: str, data: Path, shots: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(BoatinferError) as caught:
        built(data, tmp_path / "labels.csv", shots)
    assert said in str(caught.value)
    assert not (tmp_path / "data2").exists()


@pytest.mark.parametrize(
    "label", [NONE_OF_THESE, SEVERAL, CANNOT_TELL, "", "Several", "skip", "unsure", "Unknown"]
)
def test_answers_that_name_no_class(label: str) -> None:
    assert not is_class(label)
    assert is_class("(of glass)")


def test_a_training_goes_on_from_a_model(
    data: Path, tmp_path: Path, boatinfer: Command, keras: ModuleType
) -> None:
    common = ("--size", "12x12", "--epochs", 1)
    first, second = tmp_path / "first.keras", tmp_path / "second.keras"
    assert boatinfer("train", "cnn", data, "-o", first, *common).code == 0
    for split in ("train", "valid"):
        (data / split / "brown").mkdir()
        for seed in range(4):
            path = data / split / "brown" / f"{seed}.jpg"
            path.write_bytes(colours.picture("blue", 900 + seed + 10 * (split == "valid")))
    arguments = ("train", "cnn", data, "--from", first, *common, "--learning-rate", 1e-9)
    done = boatinfer(*arguments, "-o", second)
    assert done.code == 0, done.err
    before, after = (keras.models.load_model(path).get_weights() for path in (first, second))
    for one, other in zip(before[:-2], after[:-2], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    scale = after[-2][0, 0] / before[-2][0, 0]  # calibration multiplies the last layer
    np.testing.assert_allclose(before[-2] * scale, after[-2][:, [0, 2, 3]], atol=1e-5)
    np.testing.assert_allclose(before[-1] * scale, after[-1][[0, 2, 3]], atol=1e-5)
    assert after[-1][1] == pytest.approx(before[-1].min() * scale, abs=1e-5)

    done = boatinfer("train", "cnn", "--config", second.with_suffix(".train.toml"), "--force")
    assert done.code == 0, done.err
    command = ("train", "cnn", data, "-o", tmp_path / "x.keras", "--from")
    done = boatinfer(*command, tmp_path / "no.keras")
    assert (done.code, "no.keras does not exist" in done.err) == (2, True)
    done = boatinfer(*command, first, "--size", "20x20")
    assert (done.code, "is of another network or input size" in done.err) == (2, True)


def test_a_class_that_is_gone_is_refused_or_dropped(
    data: Path, tmp_path: Path, boatinfer: Command
) -> None:
    common = ("--size", "12x12", "--epochs", 1)
    first = tmp_path / "first.keras"
    assert boatinfer("train", "cnn", data, "-o", first, *common).code == 0
    for split in ("train", "valid"):
        (data / split / "green").rename(tmp_path / f"{split}-green")
    arguments = ("train", "cnn", data, "--from", first, *common, "-o", tmp_path / "second.keras")
    done = boatinfer(*arguments)
    assert (done.code, "have no images of its class green" in done.err) == (2, True)
    assert boatinfer(*arguments, "--drop-classes").code == 0

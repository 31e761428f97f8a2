"""Which labelled images ``data build`` holds back, and which of the base it leaves out."""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import colours
from answered import content_of, labels_file, row
from boatinfer.analysis.sampling import positions
from boatinfer.dataset.groups import day_of
from boatinfer.dataset.held_back import SAMPLE, in_sample, share_of_groups
from boatinfer.dataset.labelled_images import find_images
from boatinfer.results.labels import NONE_OF_THESE, SEVERAL
from boattrain.data.build import BuildResult, build
from boattrain.data.options import BuildOptions
from support import Command, drawing

Make = Callable[..., Path]


@pytest.fixture
def shot(tmp_path: Path) -> Make:
    """Makes a new picture that is, or is not, in the random sample."""
    seeds = iter(range(7000, 9000))

    def make(name: str, wanted: bool = False) -> Path:
        path = tmp_path / "shots" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(colours.picture("red", next(seeds)))
        while in_sample(content_of(path)) != wanted:
            path.write_bytes(colours.picture("red", next(seeds)))
        return path

    return make


def built(data: Path, rows: list[str], **options: object) -> BuildResult:
    place = data.parent
    labels = labels_file(place / "out", rows)
    values = {"images": place / "shots", **options}
    return build(BuildOptions(data, labels, place / "data2", **values))  # type: ignore[arg-type]


def sides(data: Path) -> dict[str, str]:
    """The split of each new image, by name."""
    new = data.parent / "data2"
    return {path.name: path.relative_to(new).parts[0] for path in new.rglob("*.jpg")}


def test_the_share_of_groups_is_that_of_images() -> None:
    import xxhash

    contents = [xxhash.xxh3_128_hexdigest(f"{number}".encode()) for number in range(20_000)]
    for size in (1, 4, 20):
        groups = [number // size for number in range(len(contents))]
        held_back = share_of_groups(contents, groups, 0.2)
        assert sum(held_back) / len(contents) == pytest.approx(0.2, abs=0.03)
        assert len(set(zip(groups, held_back, strict=True))) == len(contents) / size


def test_the_sample_is_that_of_a_review() -> None:
    import pyarrow as pa
    import xxhash

    contents = [xxhash.xxh3_128_hexdigest(f"{number}".encode()) for number in range(500)]
    contents += [f"{0:016x}{int(SAMPLE * 2**64) + shift:016x}" for shift in (-5000, 0, 5000)]
    expected = (positions(pa.array(contents)) < SAMPLE).tolist()
    assert [in_sample(content) for content in contents] == expected


def test_days_are_held_back_whole_and_in_their_share(data: Path, shot: Make) -> None:
    names = [f"202401{day:02}_{number}.jpg" for day in range(1, 31) for number in range(4)]
    for number, path in enumerate(sorted(data.rglob("*.jpg"))):
        path.rename(path.with_name(f"20230101_{number}.jpg"))
    rows = [row(shot(name), "red") for name in names]
    rows[0] = rows[0].replace("unsure", "random")
    built(data, rows, group_by="day")
    found = sides(data)
    days = {day_of(name): found[name] for name in names[::-1]}
    assert found[names[0]] == "test"
    assert all(found[name] == days[day_of(name)] for name in names if name[:8] != "20240101")
    assert 1 <= Counter(days.values())["test"] <= 14  # a fifth of 30; once 1 - 0.8 ** 4 of them
    assert found[names[1]] == found[names[2]] == found[names[3]]


def test_a_random_image_takes_its_near_duplicates_and_not_its_day(data: Path, shot: Make) -> None:
    for number, path in enumerate(sorted(data.rglob("*.jpg"))):
        path.rename(path.with_name(f"20230101_{number}.jpg"))
    chosen, other = shot("20240101_1.jpg"), shot("20240101_2.jpg")
    near = other.with_name("20240101_3.jpg")
    chosen.write_bytes(drawing(1))
    near.write_bytes(drawing(1, quality=60))
    rows = [row(chosen, "red", "random"), row(near, "red"), row(other, "red")]
    built(data, rows, group_by="day", held_back="0.0001%")
    found = sides(data)
    assert [found[path.name] for path in (chosen, near, other)] == ["test", "test", "train"]


@pytest.mark.parametrize("reason", ["unsure", "suspect", "rest"])
def test_what_lies_in_the_random_sample_is_held_back(data: Path, shot: Make, reason: str) -> None:
    inside = [shot(f"in-{number}.jpg", True) for number in range(5)]
    outside = [shot(f"out-{number}.jpg") for number in range(5)]
    rows = [row(path, "red", reason) for path in [*inside, *outside]]
    built(data, rows, held_back="0.0001%")
    found = sides(data)
    assert {found[path.name] for path in inside} == {"test"}
    assert {found[path.name] for path in outside} == {"train"}


def test_what_lies_in_the_sample_stays_apart_from_a_near_duplicate_in_train(
    data: Path, shot: Make
) -> None:
    (data / "train/red/drawn.jpg").write_bytes(drawing(1))
    path = shot("near.jpg")
    for quality in range(50, 85):
        path.write_bytes(drawing(1, quality=quality))
        if in_sample(content_of(path)):
            break
    assert in_sample(content_of(path))
    result = built(data, [row(path, "red")])
    assert (sides(data)["near.jpg"], result.seen) == ("test", 1)


def test_what_the_base_has_and_shows_no_class_is_left_out(
    data: Path, shot: Make, boatinfer: Command
) -> None:
    none, several, random = (data / f"train/red/0{number}.jpg" for number in range(3))
    rows = [row(none, NONE_OF_THESE), row(several, SEVERAL), row(random, "red", "random")]
    labels = labels_file(data.parent / "out", [*rows, row(shot("new.jpg"), "red")])
    before = {path: path.read_bytes() for path in data.rglob("*.jpg")}
    made = data.parent / "data2"
    arguments = ("--base", data, "--labels", labels, "--images", data.parent / "shots")
    done = boatinfer("data", "build", *arguments, "-o", made)
    assert done.code == 0, done.err
    after = {path.read_bytes() for path in made.rglob("*.jpg")}
    assert set(before.values()) - after == {none.read_bytes(), several.read_bytes()}
    assert {path: path.read_bytes() for path in data.rglob("*.jpg")} == before
    assert "2 images of the base are left out, for their last answer is one of these" in done.err
    assert "1 labelled image of the random sample is in train or valid of the base" in done.err


def test_the_column_group_is_known_and_kept(data: Path, shot: Make) -> None:
    train, valid = find_images(data)
    lines = [["path", "label", "split", "group", "camera"]]
    for split, files in (("train", train), ("valid", valid)):
        for name, label in zip(files.names, files.class_names, strict=True):
            lines.append([name, label, split, f"g-{split}", f"c-{split}"])
    with (data.parent / "base.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    table = data.parent / "base.csv"
    for by, start in ((None, "g"), ("camera", "c")):
        made = data.parent / f"made-{start}"
        labels = labels_file(data.parent / "out", [row(shot("new.jpg"), "red")])
        images = data.parent / "shots"
        common = {"base_table": table, "group_by": by, "as_table": True, "images": images}
        build(BuildOptions(data, labels, made, **common))  # type: ignore[arg-type]
        with (made / "data.csv").open(newline="") as file:
            found = list(csv.DictReader(file))
        groups = Counter(line["group"] for line in found)
        assert groups[f"{start}-train"] == len(train.paths)
        assert groups[f"{start}-valid"] == len(valid.paths)
        assert len(groups) == 3
        assert find_images(data, table=made / "data.csv")[0].group_by == "group"


def test_a_corrected_image_keeps_its_sub_folder(data: Path, shot: Make) -> None:
    image = data / "train/red/cam1/x.jpg"
    image.parent.mkdir()
    image.write_bytes(colours.picture("red", 6000))
    built(data, [row(image, "blue")])
    shot("unused.jpg")
    assert [path.parent for path in (data.parent / "data2").rglob("x.jpg")] == [
        data.parent / "data2/train/blue/cam1"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are UTF-8")
def test_a_table_takes_names_that_are_not_utf8(data: Path, shot: Make) -> None:
    name = os.fsdecode(b"train/red/\xff.jpg")
    (data / name).write_bytes(colours.picture("red", 6001))
    built(data, [row(shot("new.jpg"), "red")], as_table=True)
    train, _ = find_images(data, table=data.parent / "data2/data.csv")
    assert (data / name).resolve() in train.paths


def test_a_renamed_image_keeps_its_label(data: Path, shot: Make, boatinfer: Command) -> None:
    one, other = shot("one.jpg"), shot("other.jpg")
    rows = [row(one, "red"), row(other, "red")]
    one.rename(one.with_name("renamed.jpg"))
    shots, out = data.parent / "shots", data.parent / "out"
    assert boatinfer("run", shots, "-o", out, "--quiet").code == 0
    result = built(data, rows, images=None)
    assert (result.added, result.gone, result.changed) == (2, 0, 0)
    assert {"renamed.jpg", "other.jpg"} <= set(sides(data))


HALF = "broken.jpg,abc"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_answers_are_read_as_elsewhere(
    data: Path, shot: Make, encoding: str, boatinfer: Command
) -> None:
    path = shot("=x.jpg")
    text = f"reason ; path; content ;label\nunsure;./{path.name};{content_of(path)};Gondolé\n{HALF}"
    labels = data.parent / "labels.csv"
    labels.write_bytes(text.encode(encoding))
    arguments = ("--base", data, "--labels", labels, "--images", path.parent)
    done = boatinfer("data", "build", *arguments, "-o", data.parent / "data2")
    if encoding.startswith("utf-8"):
        assert done.code == 0, done.err
        assert "line 3 could not be understood" in done.err
        assert {p.parent.name for p in (data.parent / "data2").rglob("=x.jpg")} == {"Gondolé"}
    else:
        assert (done.code, "is not UTF-8; save it as CSV in UTF-8" in done.err) == (7, True)

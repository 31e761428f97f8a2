"""Splits by groups and near duplicates, and tables of labels."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from boatinfer.dataset.groups import day_of, group_names, link_groups, split_by_groups
from boatinfer.dataset.label_tables import read_label_table
from boatinfer.dataset.labelled_images import find_images
from boatinfer.dataset.near_duplicates import near_duplicates, read_thumbnails
from boatinfer.dataset.splits import TEST, TRAIN, VALID
from boatinfer.errors import UsageError
from boattrain.data.check import check
from boattrain.data.options import CheckOptions
from support import Command, drawing, flat


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Class folders with 4 days of 2 classes, 5 images each."""
    folder = tmp_path / "days"
    for label, name in enumerate(["boat", "water"]):
        (folder / name).mkdir(parents=True)
        for day in range(4):
            for number in range(5):
                path = folder / name / f"2024010{day + 1}_{number:06}.jpg"
                path.write_bytes(drawing(100 * label + 10 * day + number))
    return folder


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("a/20130304_114650.jpg", "2013-03-04"),
        ("20130304114650.jpg", "2013-03-04"),
        ("2024/05/31/x.jpg", "2024-05-31"),
        ("20200101/IMG-2021-02-03 4.jpg", "2021-02-03"),
        ("a/20131304.jpg", None),
        ("120130304.jpg", None),
        ("2013030412.jpg", None),
        ("x.jpg", None),
    ],
)
def test_days_in_paths(path: str, day: str | None) -> None:
    assert day_of(path) == day


def test_what_a_group_is() -> None:
    paths, labels = ["train/red/cam1/a.jpg", "cam2/red/b.jpg"], ["red", "red"]
    assert group_names("folder", paths, labels) == ["cam1", "cam2"]
    assert group_names(r"cam(\d)", paths, labels) == ["1", "2"]
    assert group_names("cam.", paths, labels) == ["cam1", "cam2"]
    assert group_names("day", paths, labels, {"day": ["x", "y"]}) == ["x", "y"]
    for by, said in [
        ("day", "2 of 2 images have no date in their path, such as train/red/cam1/a.jpg"),
        ("cam2", "1 of 2 images belong to no group"),
        ("cam(", "nor a regular expression"),
    ]:
        with pytest.raises(UsageError, match="--group-by") as caught:
            group_names(by, paths, labels)
        assert said in str(caught.value)
    with pytest.raises(UsageError, match="are in no folder but their class's"):
        group_names("folder", ["red/a.jpg"], ["red"])


@given(
    images=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=2, max_size=80),
    shares=st.sampled_from([{VALID: 0.1}, {VALID: 0.4}, {VALID: 0.2, TEST: 0.2}]),
)
def test_groups_stay_together_and_train_keeps_every_class(
    images: list[tuple[int, int]], shares: dict[str, float]
) -> None:
    labels, groups = [label for label, _ in images], [f"g{group}" for _, group in images]
    try:
        splits = split_by_groups(labels, groups, shares)
    except UsageError:
        return
    sides = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        sides[group].add(split)
    assert all(len(side) == 1 for side in sides.values())
    in_train = {label for label, split in zip(labels, splits, strict=True) if split == TRAIN}
    assert in_train == set(labels)
    assert set(splits) == {TRAIN, *shares}


def test_many_groups_come_near_their_shares() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 4000, p=[0.6, 0.3, 0.08, 0.02]).tolist()
    groups = [f"{number}" for number in rng.integers(0, 400, 4000)]
    splits = np.array(split_by_groups(labels, groups, {VALID: 0.1, TEST: 0.05}))
    for split, share in {VALID: 0.1, TEST: 0.05}.items():
        assert (splits == split).mean() == pytest.approx(share, abs=0.01)
        for label in range(4):
            found = (splits[np.array(labels) == label] == split).mean()
            assert found == pytest.approx(share, abs=0.04)
    assert split_by_groups(labels, groups, {VALID: 0.1}, seed=1) != splits.tolist()


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(UsageError, match="cannot be split by their 1 groups"):
        split_by_groups([0, 1, 0], ["a", "a", "a"], {VALID: 0.1})


def test_near_duplicates_are_found_and_others_not(tmp_path: Path) -> None:
    contents = [drawing(seed) for seed in range(30)]
    contents += [drawing(3, quality=50), drawing(4, shade=20), contents[5], b"no image"]
    contents += [contents[-1], b"none either"]
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(content)
    found = near_duplicates(*read_thumbnails(paths)).tolist()
    assert found == [*range(30), 3, 4, 5, 33, 33, 35]


def test_near_duplicates_join_groups() -> None:
    groups = ["a", "b", "c", "c", "d"]
    assert link_groups(groups, np.array([0, 1, 1, 3, 0])) == ["a", "b", "b", "b", "a"]


def test_a_long_chain_of_groups_is_joined_at_once() -> None:
    """Each group is linked with the next from the last on: one by one this took minutes."""
    count = 100_000
    groups = [f"{number:06}" for number in range(count)]
    linked = np.arange(count)[:, None].repeat(2, axis=1).ravel()[1:-1]  # 0 1 1 2 2 3 ...
    names = [groups[row] for row in linked.tolist()]
    firsts = np.arange(len(linked)) // 2 * 2
    order = np.arange(len(linked)).reshape(-1, 2)[::-1].ravel()
    found = link_groups([names[row] for row in order], firsts)
    assert set(found) == {groups[0]}


def test_a_split_by_days(days: Path, tmp_path: Path, boatinfer: Command) -> None:
    made = tmp_path / "made"
    (days / "boat/20240101_000000.jpg").write_bytes(drawing(21, quality=40))  # one of day 3
    done = boatinfer("data", "split", days, "-o", made, "--group-by", "day", "--valid", "25%")
    assert done.code == 0, done.err
    sides = {
        split: {path.name[:8] for path in (made / split).rglob("*.jpg")} for split in (TRAIN, VALID)
    }
    assert not sides[TRAIN] & sides[VALID]
    assert len(sides[TRAIN] | sides[VALID]) == 4
    assert ("20240101" in sides[TRAIN]) == ("20240103" in sides[TRAIN])
    here = find_images(days, 0.25, group_by="day")
    assert [len(files.paths) for files in here] == [
        len(list((made / split).rglob("*.jpg"))) for split in (TRAIN, VALID)
    ]
    assert {files.group_by for files in find_images(made, group_by="day")} == {"day"}


def test_a_split_that_shares_days_is_refused_and_checked(days: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(days.rglob("*.jpg"))):
        split = VALID if number % 5 == 0 else TRAIN
        target = tmp_path / "data" / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    data = tmp_path / "data"
    assert len(find_images(data)[1].paths) == 8
    with pytest.raises(UsageError, match="2024-01-01, 2024-01-02, 2024-01-03 and 1 more in more"):
        find_images(data, group_by="day")
    (data / "valid/boat/20240105_0.jpg").write_bytes(drawing(1, quality=30))
    cases = {finding.kind: finding.cases for finding in check(CheckOptions(data)).findings}
    assert cases["shared_group"][0].note.startswith("8 of 9 images are of 2024-01-01")
    assert cases["near_duplicate"][1].files == [
        "valid/boat/20240105_0.jpg",
        "train/boat/20240101_000001.jpg",
    ]
    assert "points too high" in cases["near_duplicate"][0].note


def test_the_probe_measures_what_days_are_worth(tmp_path: Path) -> None:
    """The class of an image can be seen from its day's pictures only."""
    rng = np.random.default_rng(0)
    for day in range(6):
        for number in range(12):
            name = "boat" if number % 2 else "water"
            path = tmp_path / (VALID if number < 4 else TRAIN) / name
            path.mkdir(parents=True, exist_ok=True)
            base = np.random.default_rng(2 * day + number % 2).integers(0, 200, (6, 8, 3))
            pixels = (base + rng.integers(0, 50, (6, 8, 3))).astype(np.uint8)
            Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(
                path / f"2024010{day + 1}-{number}.png"
            )
    (finding,) = (f for f in check(CheckOptions(tmp_path)).findings if f.kind == "shared_group")
    note = finding.cases[0].note
    assert "the image of train most like it, 100 % are right" in note
    assert float(note.removesuffix(" points too high").rsplit(" ", 1)[1]) > 20


def write_table(file: Path, rows: list[dict[str, str]]) -> Path:
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def test_a_table_is_taken_like_folders(data: Path, tmp_path: Path) -> None:
    folders = find_images(data)
    rows = [
        {"path": f"./{name}", "label": files.classes[label], "split": split, "other": "x"}
        for split, files in zip(("Training", "val"), folders, strict=True)
        for name, label in zip(files.names, files.labels, strict=True)
    ]
    rows.append({"path": "nowhere.jpg", "label": "unsure", "split": "", "other": ""})
    table = write_table(tmp_path / "table.csv", rows)
    for here, there in zip(find_images(data, table=table), folders, strict=True):
        assert (here.names, here.labels, here.classes) == (there.names, there.labels, there.classes)
    assert check(CheckOptions(data, table=table)).counts == check(CheckOptions(data)).counts


def test_the_groups_of_a_table_keep_images_together(data: Path, tmp_path: Path) -> None:
    names = [path.relative_to(tmp_path) for path in sorted(flat(data).rglob("*.jpg"))]
    rows = [
        {"path": str(name), "label": name.parent.name, "group": f"{index % 4}"}
        for index, name in enumerate(names)
    ]
    table = write_table(tmp_path / "table.csv", rows)
    train, valid = find_images(tmp_path, 0.25, table=table)
    groups = {row["path"]: row["group"] for row in rows}
    sides = [{groups[name] for name in files.names} for files in (train, valid)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    assert valid.group_by == "group"


def test_images_of_a_table_are_split_into_folders(
    data: Path, tmp_path: Path, boatinfer: Command
) -> None:
    rows = [{"path": str(path), "label": path.parent.name} for path in sorted(data.rglob("*.jpg"))]
    table = write_table(tmp_path / "table.csv", rows)
    made = tmp_path / "made"
    done = boatinfer("data", "split", tmp_path, "--table", table, "-o", made)
    assert done.code == 0, done.err
    assert sorted(path.read_bytes() for path in made.rglob("*.jpg")) == sorted(
        path.read_bytes() for path in data.rglob("*.jpg")
    )
    write_table(table, [*rows[:-1], {**rows[-1], "label": "../evil"}])
    done = boatinfer("data", "split", tmp_path, "--table", table, "-o", tmp_path / "other")
    assert (done.code, "'../evil' cannot be the name of a folder" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,class\na,b\n", "it has no column label"),
        ("path,label\na,b\nc\n", "row 3 has not as many cells"),
        ("path,label\na,b\na,c\n", "gives 'a' two different labels"),
        ("path,label\na,\nb,unsure\n", "labels no image"),
        ("path,label,split\na,b,train\nc,b,dev\n", "has the split 'dev'"),
        ("path,label,split\na,b,train\nc,b,\n", "has the split ''"),
        ("path,label\n\xff", "no table of labels"),
        ("", "it has no column path"),
    ],
)
def test_tables_that_cannot_be_used(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        read_label_table(tmp_path / "t.csv")
    assert said in str(caught.value)


def test_a_table_of_another_folder_or_one_class(data: Path, tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "t.csv", [{"path": "a.jpg", "label": "x"}, {"path": "b.jpg", "label": "y"}]
    )
    with pytest.raises(UsageError, match=r"a.jpg does not exist, nor does any other"):
        find_images(data, table=table)
    write_table(table, [{"path": "train/red/00.jpg", "label": "x"}])
    with pytest.raises(UsageError, match="only one class, x"):
        find_images(data, table=table)


def test_a_training_says_whether_valid_is_apart(
    days: Path, tmp_path: Path, boatinfer: Command
) -> None:
    common = ["--size", "12x12", "--epochs", 1]
    for options, group_by, said in [
        ([], None, "Valid was not kept apart from train by groups, so expect lower figures"),
        (["--group-by", "day"], "day", "Valid and train share no group (--group-by day)."),
    ]:
        model = tmp_path / f"{group_by}.keras"
        done = boatinfer("train", "cnn", days, "-o", model, *common, *options)
        assert done.code == 0, done.err
        assert said in done.out
        report = json.loads(model.with_suffix(".report.json").read_text())
        assert (report["group_by"], said in report["note"]) == (group_by, True)


def table_of(data: Path, days: Path, groups: list[str]) -> Path:
    """A table of split images, every fifth of which is in valid."""
    paths = sorted(days.rglob("*.jpg"))
    rows = [
        {
            "path": path.relative_to(data).as_posix(),
            "label": path.parent.name,
            "split": "train" if number % 5 else "valid",
            "group": groups[number % len(groups)],
        }
        for number, path in enumerate(paths)
    ]
    return write_table(data / "labels.csv", rows)


def test_the_column_group_of_a_split_table_is_checked(days: Path, tmp_path: Path) -> None:
    apart = table_of(tmp_path, days, ["v", "t", "t", "t", "t"])
    assert {files.group_by for files in find_images(tmp_path, table=apart)} == {"group"}
    shared = table_of(tmp_path, days, ["v", "t", "v"])
    with pytest.raises(
        UsageError, match=r"--group-by group: .* has t and v in more than one split"
    ):
        find_images(tmp_path, table=shared)


def test_near_duplicates_on_two_sides_are_refused(data: Path) -> None:
    (data / "train/red/drawn.jpg").write_bytes(drawing(1))
    assert {files.group_by for files in find_images(data, group_by="content")} == {"content"}
    (data / "valid/red/drawn.jpg").write_bytes(drawing(1, quality=50))
    with pytest.raises(UsageError, match=r"near duplicates of train/red/drawn\.jpg in more than"):
        find_images(data, group_by="content")


def test_a_table_that_is_split_is_not_split_again(
    days: Path, tmp_path: Path, boatinfer: Command
) -> None:
    table = table_of(tmp_path, days, ["g"])
    done = boatinfer("data", "split", tmp_path, "--table", table, "-o", tmp_path / "made")
    assert (done.code, "is split already, by its column split" in done.err) == (2, True)
    assert not (tmp_path / "made").exists()


def test_blanks_and_other_ways_to_write_a_path(tmp_path: Path) -> None:
    text = "path, label ,group\na.jpg, Topa,1\nx/../a.jpg,Topa , 1\n././b/c.jpg,Gondola,2\n"
    text += "d.jpg,unknown,3\ne.jpg, unsure,3\nf.jpg,  ,3\n"
    (tmp_path / "labels.csv").write_text(text)
    table = read_label_table(tmp_path / "labels.csv")
    assert list(zip(table.paths, table.labels, table.columns["group"], strict=True)) == [
        ("a.jpg", "Topa", "1"),
        ("b/c.jpg", "Gondola", "2"),
    ]
    (tmp_path / "labels.csv").write_text("path,label\na.jpg,Topa\nx/../a.jpg,Gondola\n")
    with pytest.raises(UsageError, match=r"'a\.jpg' two different labels"):
        read_label_table(tmp_path / "labels.csv")

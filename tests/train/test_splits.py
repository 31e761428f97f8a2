from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatinfer.dataset.labelled_images import find_images
from boatinfer.dataset.splits import TEST, TRAIN, VALID, parse_share, stratify
from boatinfer.errors import UsageError
from support import flat


def write(folder: Path, contents: dict[str, bytes]) -> list[str]:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return list(contents)


def deal(folder: Path, names: list[str], seed: int = 0, **shares: float) -> dict[str, str]:
    classes = sorted({name.split("/")[0] for name in names})
    labels = [classes.index(name.split("/")[0]) for name in names]
    return dict(zip(names, stratify(folder, names, labels, shares, seed), strict=True))


@settings(max_examples=60)
@given(
    classes=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=30), min_size=1, max_size=4),
    shares=st.sampled_from([{VALID: 0.1}, {VALID: 0.5}, {VALID: 0.2, TEST: 0.2}]),
    seed=st.integers(0, 3),
)
def test_contents_stay_together_and_every_class_gets_its_share(
    classes: list[list[int]], shares: dict[str, float], seed: int
) -> None:
    contents = {
        f"class{label}/{number}.jpg": bytes([value]) * (1 + value % 3)
        for label, values in enumerate(classes)
        for number, value in enumerate(values)
    }
    with TemporaryDirectory() as folder:
        names = write(Path(folder), contents)
        splits = deal(Path(folder), names, seed, **shares)
        assert deal(Path(folder), names[::-1], seed, **shares) == splits

    where = defaultdict(set)
    holders = defaultdict(set)
    for name, content in contents.items():
        where[content].add(splits[name])
        holders[content].add(name.split("/")[0])
    assert all(len(found) == 1 for found in where.values())
    for label in range(len(classes)):
        name = f"class{label}"
        held = [content for content, found in holders.items() if name in found]
        own = [content for content in held if len(holders[content]) == 1]
        files = Counter(split for path, split in splits.items() if path.startswith(name))
        assert files[TRAIN] > 0
        assert (files[VALID] > 0) == (len(held) > 1 and len(own) > 0)
        if len(own) > len(shares):
            assert set(files) == {TRAIN, *shares}


def test_without_duplicates_the_shares_are_exact(tmp_path: Path) -> None:
    sizes = {"many": 200, "few": 14, "two": 2, "one": 1}
    contents = {
        f"{name}/{i}.jpg": f"{name}{i}".encode() for name, n in sizes.items() for i in range(n)
    }
    splits = deal(tmp_path, write(tmp_path, contents), valid=0.1, test=0.05)
    counts = Counter((name.split("/")[0], split) for name, split in splits.items())
    assert counts == {
        ("many", TRAIN): 170,
        ("many", VALID): 20,
        ("many", TEST): 10,
        ("few", TRAIN): 12,
        ("few", VALID): 1,
        ("few", TEST): 1,
        ("two", TRAIN): 1,
        ("two", VALID): 1,
        ("one", TRAIN): 1,
    }


def test_the_seed_deals_otherwise_and_the_place_of_the_folder_does_not(tmp_path: Path) -> None:
    contents = {f"a/{i}.jpg": bytes([i]) for i in range(100)}
    names = write(tmp_path / "one", contents)
    write(tmp_path / "two", contents)
    first = deal(tmp_path / "one", names, valid=0.3)
    assert deal(tmp_path / "two", names, valid=0.3) == first
    assert deal(tmp_path / "one", names, seed=1, valid=0.3) != first


def test_a_file_that_cannot_be_read_stands_for_itself(tmp_path: Path) -> None:
    names = write(tmp_path, {"a/1.jpg": b"1", "a/2.jpg": b"2"})
    (tmp_path / "a/3.jpg").symlink_to("missing")
    (tmp_path / "a/4.jpg").mkdir()
    splits = deal(tmp_path, [*names, "a/3.jpg", "a/4.jpg"], valid=0.25)
    assert Counter(splits.values()) == {TRAIN: 3, VALID: 1}


@pytest.mark.parametrize("text", ["10%", "0.1", "10.0%"])
def test_a_share_is_a_percentage_or_a_fraction(text: str) -> None:
    assert parse_share(text, "--valid") == pytest.approx(0.1)


@pytest.mark.parametrize("text", ["", "ten", "0", "1", "100%", "-5%", "10", "nan", "inf", "1%%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match=r"--valid .* is no share of the images"):
        parse_share(text, "--valid")


def test_a_folder_of_classes_is_split_on_the_fly(data: Path) -> None:
    folder = flat(data)
    train, valid = find_images(folder, 0.25)
    assert train.classes == valid.classes == ["blue", "green", "red"]
    assert Counter(train.labels) == {0: 12, 1: 12, 2: 12}
    assert Counter(valid.labels) == {0: 4, 1: 4, 2: 4}
    assert not set(train.paths) & set(valid.paths)
    assert train.paths == sorted(train.paths)
    assert all(name.startswith(("blue/", "green/", "red/")) for name in train.names)
    assert find_images(folder, 0.25) == (train, valid)


def test_a_class_that_cannot_be_split_is_named(data: Path) -> None:
    folder = flat(data)
    first, *others = sorted((folder / "green").iterdir())
    for file in others:
        file.write_bytes(first.read_bytes())
    with pytest.raises(UsageError, match="too few different images of the class green"):
        find_images(folder)


@pytest.mark.parametrize("name", ["Train", "val", "test", "training"])
def test_folders_named_like_splits_are_no_classes(data: Path, name: str) -> None:
    (flat(data) / name).mkdir()
    with pytest.raises(UsageError, match="holds no folder"):
        find_images(data)


@pytest.mark.parametrize("beside", [[], ["other"]])
def test_the_folder_around_the_data_is_not_taken_for_it(data: Path, beside: list[str]) -> None:
    for name in beside:
        (data.parent / name).mkdir()
    with pytest.raises(UsageError, match=f"did you mean {data}\\?"):
        find_images(data.parent)

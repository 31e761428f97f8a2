from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import colours
import killers
from boatinfer.errors import UsageError
from boattrain.data.check import Report, check
from boattrain.data.options import CheckOptions
from boattrain.data.rules import RULES, Severity
from support import COUNTS, Command, Shell, flat

#: What the made data, sound otherwise, is always warned of: 12 and 4 images are few.
SMALL = "few_images"


def found(data: Path) -> dict[str, list[tuple[list[str], str]]]:
    """Kinds of findings but the one that all made data has, with their cases."""
    report = check(CheckOptions(data))
    return {
        finding.kind: [(case.files, case.note) for case in finding.cases]
        for finding in report.findings
        if finding.kind != SMALL
    }


def files_of(data: Path, kind: str) -> list[list[str]]:
    return [files for files, _ in found(data)[kind]]


def copy(data: Path, source: str, target: str) -> None:
    shutil.copy(data / source, data / target)


def test_sound_data_has_its_counts_and_no_errors(data: Path, boatinfer: Command) -> None:
    assert found(data) == {}
    done = boatinfer("data", "check", data)
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["class", "train", "valid"] in lines
    assert all([name, "12", "4"] in lines for name in colours.CLASSES)
    assert ["all", "36", "12"] in lines
    assert "nothing here would break a training; warnings: 1" in done.out


def test_an_image_that_crashes_the_decoder_is_named(data: Path, unsafe_shell: Shell) -> None:
    killers.write_killer(data / "train" / "red" / "killer.jpg", "segfault")
    done = unsafe_shell("data", "check", data)
    assert done.returncode == 0  # as for any image that is broken
    assert "train/red/killer.jpg" in done.stdout
    assert "crashed: the process that worked on the image was ended by signal 11" in done.stdout


def test_json_says_all_of_it(data: Path, boatinfer: Command) -> None:
    for number in range(12):
        copy(data, f"train/red/{number:02}.jpg", f"valid/red/copy-{number:02}.jpg")
    done = boatinfer("data", "check", data, "--json")
    assert done.code == 3
    report = json.loads(done.out)
    assert set(report) == set(Report.__struct_fields__)
    assert report["data"] == str(data)
    assert report["on_the_fly"] is False
    assert report["exit_code"] == 3
    assert report["counts"]["valid"] == {"blue": 4, "green": 4, "red": 16}
    leak = report["findings"][0]
    assert (leak["kind"], leak["severity"]) == ("leak", "error")
    assert [case["files"] for case in leak["cases"]] == [
        [f"train/red/{number:02}.jpg", f"valid/red/copy-{number:02}.jpg"] for number in range(12)
    ]


def test_a_leak_is_named(data: Path, boatinfer: Command) -> None:
    copy(data, "train/red/03.jpg", "valid/red/same.jpg")
    done = boatinfer("data", "check", data)
    assert done.code == 3
    assert "error: leak (1): " in done.out
    assert "  train/red/03.jpg = valid/red/same.jpg\n" in done.out
    verdict = "1 of these would break a training or make its metrics wrong; warnings: 1"
    assert done.out.rstrip().endswith(verdict)


def test_a_leak_into_test_counts_too(data: Path) -> None:
    shutil.copytree(data / "valid", data / "test")
    for path in (data / "test").rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"\0")
    assert "leak" not in found(data)
    copy(data, "valid/red/00.jpg", "test/red/00.jpg")
    assert files_of(data, "leak") == [["test/red/00.jpg", "valid/red/00.jpg"]]


def test_a_contradiction_is_named_and_is_no_repeat(data: Path) -> None:
    copy(data, "train/red/00.jpg", "train/blue/red.jpg")
    assert found(data) == {"contradiction": [(["train/blue/red.jpg", "train/red/00.jpg"], "")]}


def test_a_contradiction_across_splits_is_a_leak_too(data: Path) -> None:
    copy(data, "train/red/00.jpg", "valid/blue/red.jpg")
    assert set(found(data)) == {"contradiction", "leak"}


def test_copies_within_a_class_are_a_warning(data: Path) -> None:
    for name in ("a", "b"):
        copy(data, "train/red/00.jpg", f"train/red/{name}.jpg")
    names = ["train/red/00.jpg", "train/red/a.jpg", "train/red/b.jpg"]
    assert found(data) == {"duplicate": [(names, "")]}
    assert check(CheckOptions(data)).exit_code == 0


def test_broken_images_are_named_with_the_reason(data: Path) -> None:
    whole = (data / "train/red/00.jpg").read_bytes()
    (data / "train/red/00.jpg").write_bytes(whole[: len(whole) // 2])
    (data / "valid/blue/00.jpg").write_text("no image")
    (data / "valid/blue/link.jpg").symlink_to("nowhere")
    cases = {files[0]: note for files, note in found(data)["broken"]}
    assert cases.keys() == {"train/red/00.jpg", "valid/blue/00.jpg", "valid/blue/link.jpg"}
    assert cases["train/red/00.jpg"].startswith("corrupt: ")
    assert cases["valid/blue/00.jpg"].startswith("not_an_image: ")
    assert cases["valid/blue/link.jpg"].startswith("vanished: ")
    report = check(CheckOptions(data))
    assert report.counts["train"]["red"] == COUNTS["train"] - 1
    assert report.exit_code == 0


@pytest.mark.parametrize(("split", "code"), [("train", 3), ("valid", 0), ("test", 0)])
def test_a_class_without_readable_images(data: Path, split: str, code: int) -> None:
    if split == "test":
        for name in ("red", "blue"):
            (data / "test" / name).mkdir(parents=True)
            (data / "test" / name / "0.jpg").write_bytes(colours.picture(name, 999))
    else:
        for path in (data / split / "green").iterdir():
            path.write_text("no image")
    kind = "missing_class" if split == "train" else "untested_class"
    assert found(data)[kind] == [([f"{split}/green"], "0")]
    assert check(CheckOptions(data)).exit_code == code


def test_a_class_that_train_does_not_know(data: Path) -> None:
    (data / "valid/violet").mkdir()
    (data / "valid/violet/0.jpg").write_bytes(colours.picture("blue", 999))
    assert found(data) == {"missing_class": [(["train/violet"], "0")]}


def test_a_missing_split(data: Path) -> None:
    shutil.rmtree(data / "valid")
    assert found(data)["missing_split"] == [(["valid"], "")]
    assert check(CheckOptions(data)).exit_code == 3


def test_splits_have_other_names_too(data: Path) -> None:
    before = check(CheckOptions(data))
    (data / "train").rename(data / "Training")
    (data / "valid").rename(data / "val")
    assert check(CheckOptions(data)) == before


def test_a_single_class(data: Path) -> None:
    for split in COUNTS:
        for name in ("red", "blue"):
            shutil.rmtree(data / split / name)
    assert found(data)["single_class"] == [(["green"], "")]


def test_uneven_classes(data: Path) -> None:
    for path in sorted((data / "train/red").iterdir())[1:]:
        path.unlink()
    assert found(data) == {"uneven": [(["train"], "12 of 'blue', 1 of 'red'")]}


def test_odd_images_are_named(data: Path) -> None:
    (data / "train/red/tall.jpg").write_bytes(colours.picture("red", 1, size=(24, 80)))
    (data / "train/red/tiny.jpg").write_bytes(colours.picture("red", 1, size=(16, 5)))
    turned = Image.Exif()
    turned[0x0112] = 6
    (data / "train/red/turned.jpg").write_bytes(
        colours.picture("red", 2, size=(24, 80), exif=turned)
    )
    grey = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (24, 80), dtype=np.uint8)
    Image.fromarray(noise).convert("RGB").save(grey, "JPEG")
    (data / "valid/blue/grey.jpg").write_bytes(grey.getvalue())
    assert found(data) == {
        "odd_shape": [(["train/red/tall.jpg"], "24 x 80")],
        "tiny": [(["train/red/tiny.jpg"], "16 x 5")],
        "grey": [(["valid/blue/grey.jpg"], "")],
    }


def test_images_that_are_all_grey_are_not_odd(data: Path) -> None:
    for seed, path in enumerate(sorted(data.rglob("*.jpg"))):
        noise = np.random.default_rng(seed).integers(0, 255, (24, 80), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    assert found(data) == {}


def test_files_that_training_does_not_take(data: Path) -> None:
    copy(data, "train/red/00.jpg", "train/stray.jpg")
    (data / "train/red/deeper").mkdir()
    (data / "train/red/00.jpg").rename(data / "train/red/deeper/photo")
    (data / "train/red/notes.txt").write_text("no image")
    (data / "train/red/.hidden").write_text("no image")
    (data / "train/README").write_text("no image")
    (data / "README").write_text("no image")
    assert found(data) == {
        "misnamed": [(["train/red/deeper/photo"], "")],
        "stray": [(["train/stray.jpg"], "")],
        "other_file": [(["train/red/notes.txt"], "")],
    }


def test_classes_that_are_spelled_alike(data: Path, boatinfer: Command) -> None:
    for split in COUNTS:
        (data / split / "green").rename(data / split / "Red ")
    assert files_of(data, "alike") == [["Red ", "red"]]
    assert "  'Red ' = red\n" in boatinfer("data", "check", data).out


def test_class_folders_alone_are_checked_as_training_would_split_them(
    data: Path, boatinfer: Command
) -> None:
    report = check(CheckOptions(flat(data), valid="25%"))
    assert report.on_the_fly
    assert report.counts == {
        split: dict.fromkeys(["blue", "green", "red"], count) for split, count in COUNTS.items()
    }
    assert report.exit_code == 0
    assert "training would make these splits" in boatinfer("data", "check", data).out
    copy(data, "red/train-00.jpg", "blue/red.jpg")
    assert list(found(data)) == ["contradiction"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("", "does not exist"),
        ("empty", "holds no class folders"),
        ("train/red", "holds no images in class folders"),
        ("Train", "holds no images in class folders"),
        ("red", "holds only one class"),
    ],
)
def test_a_folder_without_images_is_no_data(tmp_path: Path, spoil: str, said: str) -> None:
    folder = tmp_path / "data"
    if spoil:
        (folder / spoil.removeprefix("empty")).mkdir(parents=True)
    with pytest.raises(UsageError, match=said):
        check(CheckOptions(folder))


def test_most_limits_the_names_on_the_terminal(data: Path, boatinfer: Command) -> None:
    for number in range(4):
        copy(data, f"train/red/{number:02}.jpg", f"valid/red/copy-{number:02}.jpg")
    done = boatinfer("data", "check", data, "--most", 3)
    assert len(re.findall(r"^  train/red/\d\d\.jpg = ", done.out, re.MULTILINE)) == 3
    assert "  and 1 more; --json lists all" in done.out


def test_names_are_printed_as_they_are(data: Path, boatinfer: Command) -> None:
    for split in COUNTS:
        (data / split / "red").rename(data / split / "[red] :boat: ")
    (data / "train/[red] :boat: /00.jpg").write_text("no image")
    done = boatinfer("data", "check", data)
    assert "  'train/[red] :boat: /00.jpg': not_an_image: " in done.out


def test_names_do_nothing_to_the_terminal(data: Path, boatinfer: Command) -> None:
    (data / "train/red/00.jpg").rename(data / "train/red/a\nb\x1b[31m.jpg")
    (data / "train/red/a\nb\x1b[31m.jpg").write_text("no image")
    assert r"  'train/red/a\nb\x1b[31m.jpg': not_an" in boatinfer("data", "check", data).out


def test_errors_come_first_and_every_kind_is_documented() -> None:
    severities = [rule.severity for rule in RULES]
    assert severities == sorted(severities)
    assert set(severities) == set(Severity)
    documented = (Path(__file__).parents[2] / "docs/data.md").read_text()
    assert re.findall(r"^\| `(\w+)` \| (\w+) \|", documented, re.MULTILINE) == [
        (rule.kind, rule.severity) for rule in RULES
    ]


def test_the_real_boats_have_no_errors(mardct: Path) -> None:
    report = check(CheckOptions(mardct))
    assert {split: sum(counts.values()) for split, counts in report.counts.items()} == {
        "train": 3474,
        "valid": 395,
    }
    assert [finding.kind for finding in report.findings] == [
        "few_images",
        "shared_group",
        "near_duplicate",
        "uneven",
    ]

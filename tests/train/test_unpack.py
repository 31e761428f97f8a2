from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatinfer.errors import OutputError, UsageError
from boattrain.data import unpack as unpacking
from boattrain.data.unpack import strip_top_folder, unpack

FILES = {"train/red/0.jpg": b"red" * 500, "train/blue/0.jpg": b"blue", "train/red/ü.jpg": b""}
NOISE = np.random.default_rng(0).bytes(100_000)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return packed.getvalue()


Others = dict[str, tuple[bytes, str]]


def tarred(files: dict[str, bytes], mode: str = "w:gz", others: Others | None = None) -> bytes:
    """Packs files, and other members as name to kind and target."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, (kind, target) in (others or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return packed.getvalue()


@pytest.fixture
def into(tmp_path: Path) -> Callable[[bytes], dict[str, bytes]]:
    """Unpacks into a folder of its own and tells what is there, beside the archive too."""

    def unpacked(content: bytes) -> dict[str, bytes]:
        place = tmp_path / "place"
        place.mkdir()
        archive = tmp_path / "archive"
        archive.write_bytes(content)
        count = unpack(archive, place, "ARCHIVE")
        files = [path for path in place.rglob("*") if not path.is_dir()]
        assert count == len(files)
        assert not any(path.is_symlink() for path in files)
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in files}

    return unpacked


Into = Callable[[bytes], dict[str, bytes]]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_zip(into: Into, method: int) -> None:
    assert into(zipped(FILES, method)) == FILES


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar(into: Into, mode: str) -> None:
    assert into(tarred(FILES, mode)) == FILES


def test_names_with_a_dot_are_usual(into: Into) -> None:
    packed = tarred({"./train/a.jpg": b"1"}, others={".": (tarfile.DIRTYPE, "")})
    assert into(packed) == {"train/a.jpg": b"1"}


def test_backslashes_in_a_zip_are_separators(into: Into) -> None:
    assert into(zipped({"train\\": b"", "train\\red\\a.jpg": b"1"})) == {"train/red/a.jpg": b"1"}


def test_what_macos_adds_is_left_out(into: Into) -> None:
    litter = {"__MACOSX/train/._a.jpg": b"", "train/.DS_Store": b"", "train/._a.jpg": b""}
    assert into(zipped(litter | {"train/a.jpg": b"1"})) == {"train/a.jpg": b"1"}


def test_links_within_a_tar_become_copies(into: Into) -> None:
    links: Others = {
        "train/red/soft.jpg": (tarfile.SYMTYPE, "../blue/0.jpg"),
        "train/red/hard.jpg": (tarfile.LNKTYPE, "train/blue/0.jpg"),
    }
    copies = dict.fromkeys(links, FILES["train/blue/0.jpg"])
    assert into(tarred(FILES, others=links)) == FILES | copies


@pytest.mark.parametrize(
    "name",
    [
        "../out.jpg",
        "train/../../out.jpg",
        "/tmp/out.jpg",
        "..\\out.jpg",
        "train/..\\..\\out.jpg",
        "\\out.jpg",
        "C:\\out.jpg",
        "C:out.jpg",
        "\\\\host\\share\\out.jpg",
    ],
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_members_that_leave_the_folder_are_refused(
    into: Into, tmp_path: Path, name: str, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    with pytest.raises(UsageError, match="is not safe to unpack"):
        into(pack({"a.jpg": b"1", name: b"out"}))
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "place"}
    assert not Path("/tmp/out.jpg").exists()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "../../out"),
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "../out"),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_links_to_outside_and_devices_are_refused(into: Into, kind: bytes, target: str) -> None:
    with pytest.raises(UsageError, match="is not safe to unpack"):
        into(tarred(FILES, others={"train/link": (kind, target)}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_python_without_filters_refuses_all_links(
    into: Into, kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.delattr(tarfile, "FilterError")
    with pytest.raises(UsageError, match="is a link or a device"):
        into(tarred(FILES, others={"link": (kind, "train/red/0.jpg")}))


def test_a_link_to_a_folder_is_refused(into: Into) -> None:
    with pytest.raises(UsageError, match="is a link to a folder"):
        into(tarred({}, others={"train": (tarfile.DIRTYPE, ""), "a": (tarfile.SYMTYPE, "train")}))


@pytest.mark.parametrize("target", ["link", "missing.jpg"])
def test_a_link_to_itself_or_nothing_is_damage(into: Into, target: str) -> None:
    with pytest.raises(UsageError, match="damaged"):
        into(tarred(FILES, others={"link": (tarfile.SYMTYPE, target)}))


@pytest.mark.parametrize("kind", [0o120000, 0o020000])
def test_links_and_devices_in_a_zip_are_refused(into: Into, kind: int) -> None:
    packed = io.BytesIO()
    info = zipfile.ZipInfo("train/link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UsageError, match="is a link or a device"):
        into(packed.getvalue())


def test_an_encrypted_zip_is_refused(into: Into) -> None:
    content = bytearray(zipped({"a.jpg": b"1"}, zipfile.ZIP_STORED))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UsageError, match="is encrypted"):
        into(bytes(content))


@pytest.mark.parametrize(
    "bomb",
    [
        zipped({f"{number}.jpg": bytes(300_000) for number in range(10)}),
        tarred({f"{number}.jpg": bytes(300_000) for number in range(10)}, "w:xz"),
        tarred({f"{number}.jpg": b"" for number in range(600)}, "w:xz"),
        tarred(
            {"a.jpg": NOISE}, others={f"{n}.jpg": (tarfile.LNKTYPE, "a.jpg") for n in range(200)}
        ),
    ],
    ids=["zip", "tar", "many", "links"],
)
def test_bombs_are_refused(into: Into, bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MIN_SIZE_LIMIT", 2_000_000)
    with pytest.raises(UsageError, match="unpacks to more than"):
        into(bomb)


def test_a_full_disk_is_told_before_it_is_full(into: Into, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(OutputError, match="there is not enough disk space"):
        into(zipped({"a.jpg": NOISE}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Rar!\x1a\x07\x01\x00rest", "is a RAR archive"),
        (b"7z\xbc\xaf\x27\x1crest", "is a 7z archive"),
        (b"  <html>", "is a web page"),
        (b"", "not a zip or tar archive"),
        (b"hello", "not a zip or tar archive"),
        (b"PK hello", "not a zip or tar archive"),
        (b"\x1f\x8b hello", "not a zip or tar archive"),
    ],
)
def test_what_is_no_archive(into: Into, content: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=f"ARCHIVE {said}|ARCHIVE is {said}"):
        into(content)


def test_no_archive_is_one_sentence(into: Into) -> None:
    with pytest.raises(UsageError) as raised:
        into(b"hello")
    assert str(raised.value) == (
        "ARCHIVE is not a zip or tar archive, or is damaged "
        "(file could not be opened successfully); check the URL, and the file there."
    )


@settings(max_examples=60)
@given(share=st.floats(0, 0.99), form=st.sampled_from(["zip", "w", "w:gz", "w:bz2", "w:xz"]))
def test_a_truncated_archive_is_never_taken_for_a_whole_one(share: float, form: str) -> None:
    files = FILES | {"noise.bin": NOISE, "last.jpg": b"last"}
    whole = zipped(files) if form == "zip" else tarred(files, form)
    if form == "w":  # its padding after the end says nothing
        whole = whole[: len(whole.rstrip(b"\0")) + 1024]
    with TemporaryDirectory() as folder, pytest.raises(UsageError):
        archive = Path(folder) / "archive"
        archive.write_bytes(whole[: int(len(whole) * share)])
        (Path(folder) / "place").mkdir()
        unpack(archive, Path(folder) / "place", "ARCHIVE")


def test_a_tar_with_a_damaged_header_is_never_taken_for_a_whole_one(into: Into) -> None:
    content = bytearray(tarred(FILES, "w"))
    content[content.index(b"train/blue") + 3] ^= 1
    with pytest.raises(UsageError, match="damaged"):
        into(bytes(content))


def test_a_zip_with_a_damaged_member_is_damaged(into: Into) -> None:
    content = bytearray(zipped({"a.bin": NOISE}, zipfile.ZIP_STORED))
    content[50_000] ^= 1
    with pytest.raises(UsageError, match=r"damaged \(Bad CRC.*[^:.]\); check"):
        into(bytes(content))


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["data/train/red/0.jpg", "data/README"], ["train/red/0.jpg", "README"]),
        (["a/b/train/red/0.jpg"], ["train/red/0.jpg"]),
        (["a/a/red/0.jpg", "a/a/blue/0.jpg"], ["red/0.jpg", "blue/0.jpg"]),
        (["train/red/0.jpg"], ["train/red/0.jpg"]),
        (["red/0.jpg"], ["red/0.jpg"]),
        (["red/0.jpg", "blue/0.jpg"], ["red/0.jpg", "blue/0.jpg"]),
        (["0.jpg"], ["0.jpg"]),
    ],
)
def test_one_folder_around_everything_is_taken_off(
    tmp_path: Path, files: list[str], wanted: list[str]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    strip_top_folder(tmp_path)
    found = [
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    ]
    assert sorted(found) == sorted(wanted)


def test_a_member_before_the_begin_of_the_archive_is_damage(
    into: Callable[[bytes], dict[str, bytes]],
) -> None:
    packed = bytearray(zipped(FILES))
    packed[-6:-2] = (int.from_bytes(packed[-6:-2], "little") + 100).to_bytes(4, "little")
    with pytest.raises(UsageError, match="is not a zip or tar archive, or is damaged"):
        into(bytes(packed))

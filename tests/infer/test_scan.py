from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.errors import UsageError
from boatinfer.storage.listing import FileFilter, ListedFile, files_from_list, scan
from boatinfer.text import from_text, to_text

names = st.binary(min_size=1, max_size=12).filter(lambda name: not {0, ord("/")} & set(name))


def paths(folder: Path, skip: Path | None = None) -> list[str]:
    return sorted(found.path for found in scan(folder, skip))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@given(names)
def test_every_name_has_a_text_and_comes_back(name: bytes) -> None:
    path = os.fsdecode(name)
    to_text(path).encode()  # any file format can hold it
    assert from_text(to_text(path)) == path


@given(names, names)
def test_two_names_never_share_a_text(one: bytes, other: bytes) -> None:
    same = to_text(os.fsdecode(one)) == to_text(os.fsdecode(other))
    assert same == (one == other)


def test_images_are_found_in_all_folders_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "sub/deep/c.webp", "notes.txt", "jpg", "x.jpg.part")
    touch(tmp_path, ".hidden.jpg", ".hidden/d.jpg")
    assert paths(tmp_path) == ["a.png", "b.JPG", "sub/deep/c.webp"]


def test_size_and_time_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"12345")
    os.utime(tmp_path / "a.png", ns=(1, 1_700_000_000_123_456_789))
    assert list(scan(tmp_path)) == [ListedFile("a.png", 5, 1_700_000_000_123_456_789)]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "elsewhere/b.png")
    (tmp_path / "in" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "z").mkdir()
    (tmp_path / "in" / "a-link-to-z").symlink_to(tmp_path / "in" / "z")
    touch(tmp_path, "in/z/c.png")
    (tmp_path / "in" / "copy.png").symlink_to(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "ring").symlink_to(tmp_path / "in" / "ring")
    found = paths(tmp_path / "in")
    assert found in (
        ["a.png", "again/b.png", "copy.png", "z/c.png"],
        ["a.png", "copy.png", "other/b.png", "z/c.png"],
    )


def test_a_dangling_link_is_found_so_that_it_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert list(scan(tmp_path)) == [ListedFile("gone.png", -1, -1)]


def test_the_results_folder_is_not_entered(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "out/b.png")
    assert paths(tmp_path, skip=tmp_path / "out") == ["a.png"]
    assert paths(tmp_path, skip=tmp_path / "no-such-folder") == ["a.png", "out/b.png"]


def test_a_folder_that_cannot_be_listed_is_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.png", "closed/b.png")
    opening = os.open

    def refuse(path: Any, *flags: int) -> int:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return opening(path, *flags)

    # The superuser may open every folder.
    monkeypatch.setattr("boatinfer.storage.listing.os.open", refuse)
    assert paths(tmp_path) == ["a.png", "closed/"]


def test_where_folders_have_no_handles_the_listing_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.png", "sub/deep/b.png", "sub/deep/c.txt")
    (tmp_path / "sub" / "link.png").symlink_to(tmp_path / "a.png")
    wanted = sorted(scan(tmp_path))
    monkeypatch.setattr(os, "supports_fd", set())
    assert sorted(scan(tmp_path)) == wanted
    assert len(wanted) == 3


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(UsageError, match="does not exist"):
        paths(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is not a folder"):
        paths(tmp_path / "a.png")


def test_bytes_that_are_no_text_are_found(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.png")).touch()
    touch(tmp_path, "new\nline.png")
    assert sorted(paths(tmp_path)) == ["\\xff.png", "new\nline.png"]


def test_deep_trees_and_many_links_between_folders_are_no_trouble(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 800)
    deep.mkdir(parents=True)
    (deep / "x.png").touch()
    for number in range(12):
        (tmp_path / f"f{number}").mkdir()
        (tmp_path / f"f{number}" / "y.png").touch()
        for other in range(12):
            (tmp_path / f"f{number}" / f"to{other}").symlink_to(tmp_path / f"f{other}")
    found = paths(tmp_path)
    assert len(found) == 13
    assert sum(path.endswith("x.png") for path in found) == 1
    assert all(f"f{number}/y.png" in found for number in range(12))


def test_choices(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.jpg", "old/c.png", "old/d.jpg", "new/e.png", "new/f.gif")

    def chosen(choice: FileFilter) -> list[str]:
        return sorted(found.path for found in scan(tmp_path, file_filter=choice))

    assert chosen(FileFilter(recursive=False)) == ["a.png", "b.jpg"]
    assert chosen(FileFilter(include=("*.png",))) == ["a.png", "new/e.png", "old/c.png"]
    assert chosen(FileFilter(include=("*.png", "new/*"))) == [
        *("a.png", "new/e.png", "new/f.gif", "old/c.png"),
    ]
    assert chosen(FileFilter(exclude=("old", "*.gif"))) == ["a.png", "b.jpg", "new/e.png"]
    assert chosen(FileFilter(include=("*.png",), exclude=("old/*",))) == ["a.png", "new/e.png"]
    (tmp_path / "really-a-jpeg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    (tmp_path / "really-text").write_bytes(b"hello")
    assert "really-a-jpeg" in chosen(FileFilter())
    assert "really-a-jpeg" not in chosen(FileFilter(sniff=False))
    assert "really-text" not in chosen(FileFilter())


def test_a_list_of_paths_may_be_lines_or_end_in_nul_bytes(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "in/b c.dat", "in/new\nline.png")
    lines, nuls = tmp_path / "lines", tmp_path / "nuls"
    lines.write_text(f"a.png\r\nb c.dat\n\ngone.png\n./a.png\n{tmp_path}/in/a.png\n")
    nuls.write_bytes(b"new\nline.png\0a.png\0")
    assert [found.path for found in files_from_list(tmp_path / "in", lines)] == [
        *("a.png", "b c.dat", "gone.png"),
    ]
    assert [found.path for found in files_from_list(tmp_path / "in", nuls)] == [
        "new\nline.png",
        "a.png",
    ]
    assert list(files_from_list(tmp_path / "in", lines))[2] == ListedFile("gone.png", -1, -1)
    lines.write_text("../elsewhere.png")
    with pytest.raises(UsageError, match="lies outside"):
        list(files_from_list(tmp_path / "in", lines))
    touch(tmp_path, "in/..a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    lines.write_bytes(b"\xef\xbb\xbf..a.png\n" + os.fsencode(tmp_path / "link" / "a.png"))
    assert [found.path for found in files_from_list(tmp_path / "link", lines)] == [
        "..a.png",
        "a.png",
    ]
    some = FileFilter(exclude=("a.*",))
    assert [found.path for found in files_from_list(tmp_path / "link", lines, some)] == ["..a.png"]
    with pytest.raises(UsageError, match="cannot be read"):
        list(files_from_list(tmp_path / "in", tmp_path / "none"))


def test_of_folders_in_a_list_only_those_with_nothing_listed_in_them_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "in/a.png", "in/deep/er/b.png", "in/..odd/c.png")
    (tmp_path / "in/empty").mkdir()
    found = [".", "./a.png", "./deep", "./deep/er/", "./deep/er/b.png", "..odd/c.png", "./empty"]
    (tmp_path / "list").write_text("\n".join([*found, str(tmp_path / "in"), "deep/.."]))

    def paths_of(source: Path) -> list[str]:
        return [found.path for found in files_from_list(tmp_path / "in", source)]

    assert paths_of(tmp_path / "list") == ["a.png", "deep/er/b.png", "..odd/c.png", "empty"]
    for alone in (".", "deep"):
        (tmp_path / "alone").write_text(alone)
        assert paths_of(tmp_path / "alone") == [alone]
    (tmp_path / "list").write_text("..")
    with pytest.raises(UsageError, match="lies outside"):
        paths_of(tmp_path / "list")

    def another_drive(*_: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr("boatinfer.storage.listing.os.path.relpath", another_drive)
    with pytest.raises(UsageError, match="lies outside"):
        paths_of(tmp_path / "alone")


def test_the_scanned_folder_cannot_hold_the_results_itself(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(UsageError, match="itself"):
        paths(tmp_path, skip=tmp_path)

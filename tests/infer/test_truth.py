from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.analysis.truth import from_folders, from_table
from boatinfer.errors import UsageError

PATHS = pa.array(["a/1.jpg", "a/b/2.jpg", "3.jpg", "=x/4,5.jpg", "ü/\n6.jpg"])
names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.lists(names, min_size=1, max_size=4)))
def test_a_class_folder_is_the_one_that_the_image_lies_in(paths: list[list[str]]) -> None:
    found = from_folders(pa.array(["/".join(path) for path in paths], pa.string()))
    assert found.to_pylist() == [path[-2] if path[1:] else None for path in paths]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_may_come_from_any_spreadsheet(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["note", "label", "path"])
    writer.writerows([["", "x", "a/1.jpg"], ["", "", "3.jpg"], ["", "z", "elsewhere.jpg"]])
    writer.writerows([["", "'=x", "./=x/4,5.jpg"], ["", "0", "/photos/a/b/2.jpg"]])
    writer.writerows([["", "y", "ü/\n6.jpg"], ["again", "x", "a/1.jpg"]])
    (tmp_path / "l.csv").write_text(text.getvalue(), encoding=encoding)
    found = from_table(tmp_path / "l.csv", PATHS, "/photos")
    assert found.to_pylist() == ["x", "0", None, "=x", "y"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "labels: it is empty;"),
        (b"path,class\na/1.jpg,x\n", "labels: a column is missing;"),
        (b"path,label\na/1.jpg\n", "labels: its lines are not all of the same columns;"),
        (b"\xff\xfe\x00", "labels: it is not UTF-8;"),
        (b"path,label\na/1.jpg,\xe9\n", "labels: it is not UTF-8;"),
        (b"path,label\na/1.jpg,unsure\na/b/2.jpg,\n", "holds no labels"),
        (b"path,label\n", "labels none of the images"),
        (b"path,label\n1.jpg,x\n", r"it has '1\.jpg', they 'a/1\.jpg'"),
        (b"path,label\na/1.jpg,x\na/1.jpg,y\n", r"'a/1\.jpg' two different labels"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "l.csv").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        from_table(tmp_path / "l.csv", PATHS, "/photos")


def test_a_table_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    for file in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            from_table(file, PATHS, "/photos")

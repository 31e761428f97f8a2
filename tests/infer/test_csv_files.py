"""Tables in which a spreadsheet finds no formula, and which are read back as they were."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from boatinfer.errors import OutputError
from boatinfer.results.tables import csv_files
from boatinfer.results.tables.csv_files import csv_plain, csv_safe, read_csv, write_csv

#: The first letters that OWASP names under "CSV injection".
PREFIXES = ["=", "+", "-", "@", "\t", "\r"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_text_that_a_spreadsheet_takes_for_a_formula_is_kept_from_it(prefix: str) -> None:
    text = f"{prefix}cmd|' /C calc'!A0"
    safe = csv_safe(pa.table({"path": [text], "label": [text], "coded": pa.array([text])}))
    assert safe.to_pylist() == [{"path": f"./{text}", "label": f"'{text}", "coded": f"'{text}"}]
    coded = pa.table({"label": pa.array([text]).dictionary_encode()})
    assert csv_safe(coded)["label"].to_pylist() == [f"'{text}"]
    assert csv_plain(safe["label"]).to_pylist() == [text]


@pytest.mark.parametrize("text", ["a=b", "'quoted'", "", "a\tb", " =x", "'"])
def test_other_text_stays_as_it_is(text: str) -> None:
    table = pa.table({"path": [text], "label": [text]})
    assert csv_safe(table).equals(table)
    assert csv_plain(table["label"]).to_pylist() == [text]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_is_written_is_read_back(tmp_path: Path, prefix: str) -> None:
    paths, labels = [f"{prefix}.jpg", "NA"], [f"{prefix}1", None]
    table = pa.table({"path": paths, "label": labels, "confidence": [0.5, None]})
    digest = write_csv(tmp_path / "t.csv", table)
    assert digest == csv_files.csv_digest(tmp_path / "t.csv")
    found = read_csv(tmp_path / "t.csv", ["path", "label"])
    assert csv_plain(found["label"]).to_pylist() == labels
    assert found["confidence"].to_pylist() == [0.5, None]
    assert found["path"].to_pylist() in (paths, [f"./{paths[0]}", "NA"])


def test_a_table_of_many_rows_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_files, "_ROWS", 3)
    monkeypatch.setattr(csv_files, "_CHUNK", 5)
    table = pa.table({"path": [f"{number}.jpg" for number in range(10)]})
    digest = write_csv(tmp_path / "t.csv", table)
    assert read_csv(tmp_path / "t.csv", ["path"]).equals(table)
    (tmp_path / "t.csv").write_bytes((tmp_path / "t.csv").read_bytes()[:-1])
    assert csv_files.csv_digest(tmp_path / "t.csv") != digest


@pytest.mark.parametrize(
    "content", ["path,path\na,b\n", "label\nred\n", "path,label\n,red\n", "path,label\nred\n", ""]
)
def test_a_damaged_table_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(OutputError, match=r"t\.csv"):
        read_csv(tmp_path / "t.csv", ["path", "label"])

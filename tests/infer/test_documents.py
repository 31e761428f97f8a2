"""Documents that are none, wherever one is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.errors import BoatinferError, BusyError, OutputError
from boatinfer.results.folder import Results
from boatinfer.results.locks import results_holder
from boatinfer.results.store.parts import Parts
from boatinfer.results.summary import Summary, parsed, read_summary
from boatinfer.storage.documents import DocumentError, decode_document, read_document
from boatinfer.storage.lease import _Record
from support import Command

Night = Callable[..., Summary]

#: What no document is.
NONE = [
    b"",
    b"\0",
    b"{",
    b"[]",
    b"null",
    b"7",
    b"hello",
    b"{}",
    b'{"run": "\xff"}',
    b'{"run": 7}',
    b'{"run": "\\ud800"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 100_000,
    b"NaN",
    b"1e999",
]
WHOLE = Summary(run="1", folder="/f", started="2026-01-01T00:00:00+00:00", found=5).text().encode()


@pytest.mark.parametrize("content", NONE)
def test_what_is_no_document_is_one_error(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DocumentError):
        decode_document(content, Summary)
    with pytest.raises(DocumentError):
        parsed(content)
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"run.json is damaged \(.+\); delete it and run again"):
        read_summary(tmp_path / "run.json")


def test_a_folder_and_a_file_that_is_too_large_are_no_document(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="directory"):
        read_document(tmp_path, Summary)
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 40)
    with pytest.raises(DocumentError, match="too large"):
        read_document(tmp_path / "large", Summary)
    with pytest.raises(FileNotFoundError):
        read_document(tmp_path / "large" / "x", Summary)


@given(place=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_of_a_summary_is_noticed(place: int, bit: int) -> None:
    changed = bytearray(WHOLE)
    changed[place] ^= 1 << bit
    key = range(WHOLE.rindex(b'"digest"'), WHOLE.rindex(b'"digest"') + 10)
    if place in key:  # the rest is as it was; and older files have no digest
        return
    with pytest.raises(DocumentError):
        parsed(bytes(changed))


def test_a_summary_reads_back_as_it_was_and_one_without_a_digest_too() -> None:
    summary = parsed(WHOLE)
    assert summary.text().encode() == WHOLE
    old = msgspec.json.encode(summary)
    assert parsed(old) == summary
    newer = msgspec.json.decode(old) | {"weather": "fine"}
    assert parsed(msgspec.json.encode(newer)) == summary


@pytest.mark.parametrize(
    "field", [b'"found":-1', b'"found":9223372036854775808', b'"started":"yesterday"']
)
def test_values_that_no_run_has_are_refused(field: bytes) -> None:
    name = field.split(b":")[0]
    content = msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(parsed(WHOLE))))
    old = next(part for part in content.split(b",") if part.startswith(name))
    with pytest.raises(DocumentError):
        parsed(content.replace(old, field))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"run": 7}', "flip"])
def test_an_older_summary_that_is_damaged_is_named_and_set_aside(
    boatinfer: Command, night: Night, tmp_path: Path, content: Any
) -> None:
    night()
    night()
    out = tmp_path / "out"
    first, _ = sorted((out / "runs").iterdir())
    if content == "flip":
        content = first.read_bytes().replace(b'"found": 12', b'"found": 13')
    first.write_bytes(content)
    for command in [("results",), ("report",), ("evaluate",), ("compare", out)]:
        assert boatinfer(*command, out).code == 0
    done = boatinfer("results", out, "--verify")
    assert (done.code, done.out, done.err.count("\n")) == (7, "", 1)
    assert f"{first} is damaged" in done.err
    summary = night()
    assert summary.remarks == [f"The summary runs/{first.name} was damaged: it was set aside."]
    assert not first.exists()
    assert first.with_name(f"{first.name}.damaged").read_bytes() == content
    assert boatinfer("results", out, "--verify").code == 0
    assert night().remarks == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", "flip"])
def test_run_json_is_named_where_it_is_damaged_and_the_next_run_mends_it(
    boatinfer: Command, night: Night, tmp_path: Path, content: Any
) -> None:
    night()
    out = tmp_path / "out"
    file = out / "run.json"
    if content == "flip":
        content = file.read_bytes().replace(b"colours", b"c\xeflours")
    file.write_bytes(content)
    for command in [("results",), ("results", "--verify"), ("report",), ("evaluate",)]:
        done = boatinfer(command[0], out, *command[1:])
        assert (done.code, done.err.count("\n"), f"{file} is damaged" in done.err) == (7, 1, True)
    night()
    assert boatinfer("results", out, "--verify").code == 0


def test_no_damage_to_a_file_of_the_results_is_a_traceback(
    boatinfer: Command, night: Night, tmp_path: Path, model_file: Path, pictures: Path
) -> None:
    """Every file in turn; afterwards a run makes the folder whole again, or says what to do."""
    night()
    night()
    out, random = tmp_path / "out", np.random.default_rng(0)
    files = sorted(file for file in out.rglob("*") if file.is_file() and file.name != ".lock")
    for file in files:
        whole = file.read_bytes()
        place = int(random.integers(len(whole)))
        flipped = whole[:place] + bytes([whole[place] ^ 128]) + whole[place + 1 :]
        for content in (b"", flipped):
            file.write_bytes(content)
            for command in ("results", "report", "evaluate", "features"):
                rest = ["-o", tmp_path / "x.npz"] if command == "features" else []
                done = boatinfer(command, out, *rest)
                assert done.code in {0, 2, 7}, (file, content, done)
                assert done.err.count("\n") <= 1
            file.write_bytes(whole)
    for file in files:
        if file.suffix in {".json", ".csv", ".html"} or file.name == ".current.parquet":
            file.write_bytes(b"\xff")
    assert boatinfer("results", out, "--verify").code == 7


@pytest.mark.parametrize("process", [-1, 2**31, 10**30, "7"])
def test_a_lease_of_no_process_is_nobodys(process: Any) -> None:
    note = {"holder": "h", "key": "k", "place": "p", "process": process, "generation": 0}
    content = msgspec.json.encode(note) if process != 10**30 else b'{"process":1%030d}' % 0
    with pytest.raises(DocumentError):
        decode_document(content, _Record)


def test_whoever_holds_a_folder_may_have_any_name(night: Night, tmp_path: Path) -> None:
    from filelock import FileLock

    night()
    out = tmp_path / "out"
    with FileLock(out / ".lock"):
        (out / ".holder").write_bytes(b"\xff" * 10_000)
        who = results_holder(out)
        assert who is not None
        assert len(who) == 200
        with pytest.raises(BusyError):
            night()


def test_files_with_names_like_those_of_parts_are_left_alone(night: Night, tmp_path: Path) -> None:
    night()
    parts = Parts(tmp_path / "out" / "parts")
    files = parts.files()
    for name in ("000001_old-x.parquet", "000001 (copy)-x.parquet", "9999999999-x.parquet"):
        (parts.folder / name).write_bytes(b"hello")
    assert parts.files() == files
    assert night().reused == 12


def test_the_note_of_what_is_current_may_hold_anything(night: Night, tmp_path: Path) -> None:
    night()
    results = Results(tmp_path / "out")
    table = pq.read_table(results.manifest)
    for summary, part in [(b"{", b"1"), (b"\xff", b"1"), (WHOLE, b"x"), (b"[" * 10**5, b"1")]:
        said = {b"boatinfer.summary": summary, b"boatinfer.part": part}
        pq.write_table(table.replace_schema_metadata(said), results.manifest)
        with pytest.raises(OutputError, match="cannot be read"):
            results.last_complete()
    pq.write_table(table.drop_columns(["path"]), results.manifest)
    with pytest.raises(BoatinferError, match="cannot be read"):
        results.current()
    assert night().reused == 12
    results.current()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("failures.csv", b'"p th","reason","message"\n"bad.jpg","corrupt","cut"\n'),
        ("failures.csv", b'"path","path","reason","message"\n"a","a","corrupt","cut"\n'),
        ("failures.csv", b'"path","reason","message"\n,"corrupt","cut"\n'),
        ("predictions.csv", b"path,label,confidence\na,b,0.5\n"),
        ("predictions.csv", b"path,label,confidence,status\na,b,c,ok\n"),
        ("predictions.csv", b"\xff"),
    ],
)
def test_a_table_without_its_columns_is_refused(
    boatinfer: Command, night: Night, tmp_path: Path, name: str, content: bytes
) -> None:
    night()
    (tmp_path / "out" / name).write_bytes(content)
    done = boatinfer("report", tmp_path / "out")
    assert (done.code, done.err.count("\n")) == (7, 1)
    assert f"{name} cannot be read" in done.err

"""labels.csv: nothing is lost or doubled, whoever writes it and whatever ends them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from boatinfer.errors import OutputError
from boatinfer.results import labels
from boatinfer.results.labels import LABELS, Answer, LabelFile, is_label_file, read_labels
from boatinfer.storage.locations import place

HEADER = "path,content,label,by,when,shown_label,model,reason"
CONTENTS = ["0" * 31 + str(number) for number in range(10)]


def _answer(number: int, label: str = "red", path: str = "a.jpg") -> Answer:
    return Answer(
        path, CONTENTS[number], label, "ann", "2026-04-01T07:00:00+00:00", "blue", "m", "x"
    )


def test_the_last_answer_of_a_content_counts_and_an_empty_one_withdraws(tmp_path: Path) -> None:
    file = LabelFile(tmp_path)
    file.append([_answer(1), _answer(2)])
    file.append([_answer(1, "green")])
    file.append([_answer(2, "")])
    lines = (tmp_path / LABELS).read_text().splitlines()
    assert lines[0] == HEADER
    assert [line.split(",")[2] for line in lines[1:]] == ["red", "red", "green", ""]
    assert file.answers == read_labels(tmp_path / LABELS).answers
    assert {content: one.label for content, one in file.answers.items()} == {CONTENTS[1]: "green"}


text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@example(path="two\rlines.jpg", label="red", by="\r")
@given(path=text.filter(lambda path: not path.startswith("./")), label=text, by=text)
def test_whatever_is_written_is_read_back(tmp_path: Path, path: str, label: str, by: str) -> None:
    (tmp_path / LABELS).unlink(missing_ok=True)
    label = label.strip() or "red"
    if label.startswith("'"):  # what somebody writes so themselves is read as it is escaped
        label = label.strip("'") or "red"
    answer = Answer(path, CONTENTS[0], label.strip() or "red", by.strip("'"), "", "", "", "")
    file = LabelFile(tmp_path)
    file.append([answer])
    assert read_labels(file.path) == labels.Reading({CONTENTS[0]: answer}, [])
    assert not any(cell.startswith(("=", "+", "@")) for cell in file.path.read_text().split(","))


def test_half_a_line_at_the_end_costs_that_line_alone(tmp_path: Path) -> None:
    """Wherever the line was cut, also within quotes, whatever comes afterwards is whole."""
    whole = LabelFile(tmp_path)
    whole.append([_answer(0)])
    start = whole.path.stat().st_size
    whole.append([_answer(1, path='two\nlines,"quoted".jpg')])
    data = whole.path.read_bytes()
    for end in range(start + 1, len(data) - 1):
        whole.path.write_bytes(data[:end])
        LabelFile(tmp_path).append([_answer(2), _answer(3)])
        reading = read_labels(whole.path)
        assert set(reading.answers) - {CONTENTS[1]} == {CONTENTS[0], CONTENTS[2], CONTENTS[3]}
        if CONTENTS[1] in reading.answers:  # only the last column is cut
            assert reading.answers[CONTENTS[1]].label == "red"
            assert reading.problems == []
        elif end > start + 1:  # a quote alone becomes an empty line
            assert len(reading.problems) == 1
            assert "could not be understood" in reading.problems[0]
        assert whole.path.read_bytes().startswith(data[:end])


def test_a_single_quote_in_a_line_opens_nothing(tmp_path: Path) -> None:
    line = f'a.jpg,{CONTENTS[0]},5" boat,,,,,'
    for end in ("", "\n"):
        (tmp_path / LABELS).write_text(f"{HEADER}\n{line}{end}")
        LabelFile(tmp_path).append([_answer(1)])
        LabelFile(tmp_path).append([_answer(2)])
        assert set(read_labels(tmp_path / LABELS).answers) == set(CONTENTS[:3])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_spreadsheet_may_have_saved_it(tmp_path: Path, separator: str) -> None:
    columns = ["note", *HEADER.split(",")[::-1]]
    row = ["see", "r", "m", "blue", "now", "ann", "red", CONTENTS[0].upper(), "a.jpg"]
    lines = [separator.join(columns), separator.join(row), separator * 8, ""]
    (tmp_path / LABELS).write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    file = LabelFile(tmp_path)
    assert file.answers[CONTENTS[0]].label == "red"
    assert file.problems == []
    file.append([_answer(1, "green", "b.jpg")])
    reading = read_labels(file.path)
    assert reading.problems == []
    assert reading.answers[CONTENTS[1]] == _answer(1, "green", "b.jpg")


def test_cells_that_excel_leaves_out_are_empty_and_half_a_line_is_none(tmp_path: Path) -> None:
    rows = [HEADER, f"a.jpg,{CONTENTS[0]},red", f"b.jpg,{CONTENTS[1]},blue,ann", f"c,{CONTENTS[2]}"]
    (tmp_path / LABELS).write_bytes("\r\n".join([*rows, ""]).encode())
    file = LabelFile(tmp_path)
    assert file.problems == []
    assert {one.content: (one.label, one.by) for one in file.answers.values()} == {
        CONTENTS[0]: ("red", ""),
        CONTENTS[1]: ("blue", "ann"),
    }
    with file.path.open("ab") as opened:
        opened.write(f"d.jpg,{CONTENTS[3]},gre".encode())  # of green
    file.append([_answer(4)])
    reading = read_labels(file.path)
    assert CONTENTS[3] not in reading.answers
    assert CONTENTS[4] in reading.answers
    assert "line 5 could not be understood" in reading.problems[0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfep\0a\0", "is not UTF-8"),
        (b"path,label\na.jpg,red\n", "has no column content in its first line"),
        (b"\0\0\0\n", "has no column content"),
    ],
)
def test_what_is_no_table_of_labels_is_one_sentence_and_stays(
    tmp_path: Path, data: bytes, said: str
) -> None:
    file = tmp_path / LABELS
    good = LabelFile(tmp_path)
    file.write_bytes(data)
    for use in (lambda: LabelFile(tmp_path), lambda: good.append([_answer(0)])):
        with pytest.raises(OutputError, match=said):
            use()
    assert file.read_bytes() == data
    assert not is_label_file(file)


def test_lines_that_nobody_understands_are_named(tmp_path: Path) -> None:
    bad = ["x.jpg,,red,,,,,", "x.jpg,123,red,,,,,", "hello"]
    (tmp_path / LABELS).write_text("\n".join([HEADER, *bad, f"y.jpg,{CONTENTS[1]},red,,,,,", ""]))
    reading = read_labels(tmp_path / LABELS)
    assert list(reading.answers) == [CONTENTS[1]]
    (problem,) = reading.problems
    assert "lines 2, 3, 4 could not be understood" in problem


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LabelFile(tmp_path)
    file.append([_answer(0)])
    before = file.path.read_bytes()
    write = os.write

    def full(handle: int, data: bytes) -> int:
        if not data.startswith(b"a.jpg"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:20])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left on device; make room or"):
        file.append([_answer(1), _answer(2)])
    assert file.path.read_bytes() == before
    assert set(file.answers) == {CONTENTS[0]}
    monkeypatch.undo()
    file.append([_answer(1)])
    assert set(read_labels(file.path).answers) == set(CONTENTS[:2])


def test_several_write_at_once(tmp_path: Path) -> None:
    files = [LabelFile(tmp_path) for _ in range(4)]

    def write(file: LabelFile, who: int) -> None:
        for turn in range(25):
            file.append([Answer(f"{turn}.jpg", f"{who:08}{turn:024}", "red")])

    threads = [threading.Thread(target=write, args=(f, i)) for i, f in enumerate(files)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reading = read_labels(tmp_path / LABELS)
    assert (len(reading.answers), reading.problems) == (100, [])
    assert (tmp_path / LABELS).read_text().count("\n") == 101
    for file in files:
        file.refresh()
        assert file.answers == reading.answers


WRITER = """
import sys
from boatinfer.results.labels import Answer, LabelFile
from pathlib import Path
file, who = LabelFile(Path(sys.argv[1])), int(sys.argv[2])
for number in range(10 ** 6):
    file.append([Answer(f"{number}.jpg", f"{who:08}{number:024}", "red", reason="random")])
    print(number, flush=True)
"""


def test_killed_at_any_moment_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for who in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(who)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(20 + 7 * who):
            acknowledged.add(f"{who:08}{int(process.stdout.readline()):024}")
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        acknowledged.update(f"{who:08}{int(number):024}" for number in rest)
    reading = read_labels(tmp_path / LABELS)
    assert acknowledged <= set(reading.answers)
    assert len(reading.answers) <= len(acknowledged) + 3  # written, and not told any more
    lines = (tmp_path / LABELS).read_text().splitlines()
    assert len(lines) - 1 == len(set(lines)) - 1 == len(reading.answers)


def test_in_a_bucket_there_are_no_answers() -> None:
    with pytest.raises(OutputError, match="copy the folder to a disk"):
        LabelFile(place("s3://bucket/out"))

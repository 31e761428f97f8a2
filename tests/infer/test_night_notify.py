"""Word of nights: mail, webhooks and pings, which can hold no night and give no secret away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from boatinfer.errors import BusyError, OutputError
from boatinfer.night.config import Folder
from boatinfer.night.notify import outbox
from boatinfer.night.notify.settings import Notify, When
from boatinfer.night.record import FolderResult, NightResult, Record, record_file
from boatinfer.night.reporting import _is_told
from boatinfer.night.running import lock_of, run_night
from boatinfer.pipeline.options import RunOptions
from boatinfer.storage.locks import hold_lock
from listeners import SECRET, Mail, Web, free_port, mail_server, silent_server, web_server
from nightly import FAKE, parsed, write
from support import Command

TWO = """
[[folder]]
name = "first"
dir = "pictures"
model = "colours.onnx"
[[folder]]
name = "second"
dir = "pictures"
model = "missing.onnx"
"""


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with web_server() as site:
        monkeypatch.setenv("SITE", site.url)
        yield site


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_PAUSES", (0.0, 0.0))


@pytest.fixture
def mail() -> Iterator[Mail]:
    with mail_server() as server:
        yield server


def fails(code: int = 4, said: str = "boatinfer: it is broken.") -> str:
    return f"import sys; print({said!r}, file=sys.stderr); sys.exit({code})"


def seen_everywhere(folder: Path) -> str:
    """All that is in files, but for night.toml and the secret's own."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    said = [file for file in files if file.name not in {"night.toml", "secret"}]
    return "".join(file.read_bytes().decode(errors="replace") for file in said)


def test_a_night_reaches_mail_webhook_and_ping(
    pictures: Path, model_file: Path, web: Web, mail: Mail, boatinfer: Command
) -> None:
    tmp_path = pictures.parent
    (tmp_path / "secret").write_text(f"{web.url}/hook\n")
    (tmp_path / "boatinfer-out").mkdir()
    address = f"mailto://127.0.0.1:{mail.port}?from=night@example.org&to=you@example.org"
    table = f"""
[notify]
apprise = ["{address}"]
webhooks = ["file:secret"]
ping = "${{SITE}}/ping?x=1"
link-prefix = "https://server/nights/"
"""
    file = write(tmp_path, TWO + table)
    ended = boatinfer("night", "run", "-c", file)
    assert ended.code == 4
    found = len(list(pictures.rglob("*.*")))
    (sent,) = mail.mails
    assert sent["Subject"] == "boatinfer: second failed"
    assert sent["To"] == "you@example.org"
    text = sent.get_body().get_content()
    missing = f"{file}, line 9: the model {tmp_path / 'missing.onnx'} does not exist"
    assert f"second: no results\nexit code 4: {missing}" in text.replace("\r\n", "\n")
    assert "All folders: https://server/nights/index.html" in text
    assert sorted(web.events) == ["/hook", "/ping/fail?x=1", "/ping/start?x=1"]
    bodies = dict(web.requests)
    assert bodies["/ping/fail?x=1"].startswith("exit code 4\n\nfirst: ")
    (document,) = web.documents
    assert (document["status"], document["exit_code"]) == ("failure", 4)
    assert [folder["name"] for folder in document["folders"]] == ["second"]
    assert missing in document["folders"][0]["error"]
    assert f"{found} new images" in bodies["/ping/fail?x=1"]
    assert "https://server/nights/boatinfer-out/first/reports/" in bodies["/ping/fail?x=1"]
    status = boatinfer("night", "status", "-c", file)
    for said in (ended.out, ended.err, status.out, status.err, seen_everywhere(tmp_path)):
        assert SECRET not in said


def test_the_sentence_of_the_message_is_that_of_the_page(
    tmp_path: Path, pictures: Path, model_file: Path, web: Web
) -> None:
    one = TWO.partition('[[folder]]\nname = "second"')[0]
    table = '[notify]\nwebhooks = ["${SITE}"]\nwhen = "always"'
    night = parsed(tmp_path, one + table)
    run_night(night)
    (document,) = web.documents
    sentence = document["folders"][0]["sentence"]
    assert document["title"] == f"boatinfer: first: {sentence}"
    assert sentence in (tmp_path / "boatinfer-out" / "first" / "report.html").read_text()
    page = document["folders"][0]["page"]
    assert page.startswith("file://")
    assert Path(page.removeprefix("file://")).is_file()


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("failure", ["second"]),
        ("unusual", ["second", "third"]),
        ("always", ["first", "second", "third"]),
    ],
)
def test_each_folder_says_of_what_is_told(when: str, told: list[str]) -> None:

    results = [
        FolderResult(name="first", exit_code=0),
        FolderResult(name="second", exit_code=3),
        FolderResult(name="third", exit_code=0, unusual=["odd"]),
    ]
    night = NightResult(started="2026-01-01T00:00:00+00:00", whole=True, folders=results)
    folders = [
        Folder(one.name, RunOptions(Path("x")), {"": ""}, Notify(when=When(when)))
        for one in results
    ]
    assert [one.name for one in folders if _is_told(one, night)] == told


def test_a_folder_may_have_its_own_people_and_check(
    tmp_path: Path, scripts: dict[str, str], web: Web
) -> None:
    own = '[folder.notify]\nwhen = "always"\nwebhooks = ["${SITE}/own"]\nping = "${SITE}/check"\n'
    night = parsed(
        tmp_path, f'{FAKE}{own}[notify]\nwebhooks = ["${{SITE}}/all"]\nping = "${{SITE}}"'
    )
    scripts["first"] = fails()
    run_night(night)
    assert sorted(web.events) == ["/all", "/check", "/check/start", "/fail", "/own", "/start"]
    bodies = dict(web.requests)
    assert '"name": "first"' in bodies["/all"]
    assert '"name": "second"' not in bodies["/all"]
    assert '"name": "second"' in bodies["/own"]
    assert "it is broken" in bodies["/fail"]
    web.requests.clear()
    run_night(night, ["second"])
    assert sorted(web.events) == ["/check", "/check/start", "/own"]


def test_a_night_of_some_folders_is_no_night_for_the_check(
    tmp_path: Path, scripts: dict[str, str], web: Web
) -> None:
    night = parsed(tmp_path, FAKE + '[notify]\nping = "${SITE}"')
    run_night(night, ["first"])
    assert web.events == []
    run_night(night)
    assert web.events == ["/start", ""]


def test_the_end_of_the_log_goes_with_a_failure(
    tmp_path: Path, scripts: dict[str, str], web: Web
) -> None:
    lines = 'import sys\nfor n in range(1000): print(f"line {n}", file=sys.stderr)\nsys.exit(1)'
    scripts["second"] = lines
    run_night(parsed(tmp_path, FAKE + '[notify]\nping = "${SITE}"'))
    assert web.events == ["/start", "/fail"]
    assert "line 998\nline 999" in web.requests[1][1]
    assert len(web.requests[1][1]) <= 10_000


def test_whoever_does_not_answer_holds_nobody(
    tmp_path: Path, scripts: dict[str, str], web: Web
) -> None:
    with silent_server() as silent:
        hangs = f"127.0.0.1:{silent}/{SECRET}"
        table = f"""
[notify]
timeout = 0.2
when = "always"
apprise = ["mailto://you:{SECRET}@127.0.0.1:{silent}?from=a@example.org&to=b@example.org&cto=0.2&rto=0.2"]
webhooks = ["http://{hangs}", "${{SITE}}", "http://127.0.0.1:{free_port()}/{SECRET}"]
ping = "http://{hangs}"
"""
        night = parsed(tmp_path, FAKE + table)
        result = run_night(night)
    assert result.exit_code == 0
    assert web.events == [""]
    remarks = "\n".join(result.remarks)
    assert f"{night.file}, line 14: ping could not be told: no answer within 0.2 s." in remarks
    assert f"{night.file}, line 13: webhook 1 could not be told: no answer within 0.2 s." in remarks
    assert "webhook 3 could not be told: the connection was refused." in remarks
    assert "apprise 1 could not be told: " in remarks
    assert len(result.remarks) == 4
    assert SECRET not in remarks + seen_everywhere(tmp_path)
    assert "webhook 1 could not be told" in (tmp_path / "index.html").read_text()


def test_a_server_that_answers_by_and_by_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, web: Web
) -> None:
    never = threading.Event()
    monkeypatch.setattr(outbox, "longest_seconds", lambda _: 0.1)
    box = outbox.Outbox(1.0)
    (target,) = parsed(tmp_path, FAKE + '[notify]\nping = "${SITE}"').notify.ping
    box.put(target, lambda *_: (never.wait(), None)[1])
    told = box.close()
    never.set()
    assert told == {target: f"{target.where}: ping could not be told: it takes too long."}


@pytest.mark.parametrize(
    ("statuses", "asked", "reason"),
    [
        ([503, 429], 3, None),
        ([503, 503, 503], 3, "the server answered 503"),
        ([404], 1, "the server answered 404"),
        ([302], 1, "the server answered 302"),
        ([500], 1, "the server answered 500"),
    ],
)
def test_what_passes_is_tried_again(
    statuses: list[int],
    asked: int,
    reason: str | None,
    *,
    tmp_path: Path,
    scripts: dict[str, str],
    web: Web,
) -> None:
    web.statuses = list(statuses)
    text = FAKE + '[notify]\nwhen = "always"\nwebhooks = ["${SITE}"]'
    result = run_night(parsed(tmp_path, text))
    assert len(web.requests) == asked
    assert [remark.partition("told: ")[2] for remark in result.remarks] == (
        [f"{reason}."] if reason else []
    )


def test_a_missing_secret_is_a_remark_of_the_night_and_a_warning_of_the_plan(
    tmp_path: Path, boatinfer: Command, scripts: dict[str, str]
) -> None:
    text = "allow-empty = true" + FAKE + '[notify]\nping = "${NO_SUCH}"\nwebhooks = ["file:none"]'
    file = write(tmp_path, text)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    ended = boatinfer("night", "run", "-c", file)
    missing = f"{file}, line 9: the environment variable NO_SUCH of ping is not set;"
    assert ended.code == 0
    assert f"boatinfer: {missing}" in ended.err
    plan = boatinfer("night", "plan", "-c", file)
    assert plan.code == 0
    assert f"boatinfer: warning: {missing}" in plan.err
    assert f"{file}, line 10: the file {tmp_path / 'none'} of webhook 1 cannot be read" in plan.err


def test_a_night_that_was_killed_or_never_started_is_told_once(
    tmp_path: Path, scripts: dict[str, str], web: Web
) -> None:
    text = FAKE + '[notify]\nwebhooks = ["${SITE}"]\n[schedule]\nat = "02:00"'
    night = parsed(tmp_path, text)
    third = datetime(2026, 1, 3, 2, 0, 30).astimezone()
    before = [
        NightResult(started=(third - timedelta(days=days)).isoformat(), whole=True, finished=end)
        for days, end in ((2, None), (3, "2025-12-31T02:10:00+00:00"))
    ]
    Record(config=str(night.file), nights=before).write(record_file(night))
    result = run_night(night, clock=lambda: third)
    assert result.exit_code == 0
    (document,) = web.documents
    assert document["status"] == "failure"
    assert document["earlier"] == [
        "the night that started 2026-01-01 02:00 did not come to its end: killed, or the machine "
        "went off.",
        "the night that was due 2026-01-02 02:00 did not start.",
    ]
    run_night(night, clock=lambda: third + timedelta(days=1))
    assert len(web.requests) == 1
    run_night(night, clock=lambda: third + timedelta(days=1, hours=6))  # late, or by hand
    assert len(web.requests) == 1
    run_night(night, clock=lambda: third + timedelta(days=5))
    assert web.documents[-1]["earlier"] == [
        "3 nights that were due did not start, the last 2026-01-07 02:00."
    ]


def test_what_ends_the_night_itself_is_told(
    tmp_path: Path, scripts: dict[str, str], web: Web
) -> None:
    text = FAKE + '[notify]\nwebhooks = ["${SITE}/hook"]\nping = "${SITE}"'
    night = parsed(tmp_path, text)
    with hold_lock(lock_of(night), "a night"), pytest.raises(BusyError):
        run_night(night)
    assert web.events == ["/hook"]  # the other has the check
    record_file(night).write_text("no record")
    with pytest.raises(OutputError):
        run_night(night)
    assert sorted(web.events[1:]) == ["/fail", "/hook"]
    assert ["goes on" in one["error"] for one in web.documents] == [True, False]
    assert "is no record of nights" in web.documents[1]["error"]
    assert "is no record of nights" in dict(web.requests)["/fail"]


def test_notify_says_who_can_be_told(
    tmp_path: Path, boatinfer: Command, web: Web, mail: Mail
) -> None:
    address = f"mailto://127.0.0.1:{mail.port}?from=a@example.org&to=b@example.org"
    table = f'[notify]\napprise = ["{address}"]\nwebhooks = ["${{SITE}}/a", "${{SITE}}/b"]\n'
    table += 'ping = "${SITE}"'
    file = write(tmp_path, FAKE + table)
    ended = boatinfer("night", "notify", "-c", file)
    assert (ended.code, len(ended.out.splitlines()), web.requests) == (0, 4, [])
    assert f"webhook 2: ready ({file}, line 10)" in ended.out
    web.statuses = [410, 410, 410]
    ended = boatinfer("night", "notify", "--test", "-c", file)
    assert ended.code == 7
    assert ended.out == f"apprise 1: told ({file}, line 9)\n"
    assert ended.err.count("could not be told: the server answered 410.\n") == 3
    assert sorted(web.events) == ["/a", "/b", "/log"]
    assert mail.mails[0]["Subject"] == "boatinfer: a test"
    assert SECRET not in ended.out + ended.err
    ended = boatinfer("night", "notify", "-c", write(tmp_path, FAKE))
    assert (ended.code, ended.err.count("names nobody to tell")) == (2, 1)


def test_the_time_is_the_clocks(tmp_path: Path, scripts: dict[str, str]) -> None:
    moment = datetime(2020, 2, 29, 2, 0, tzinfo=UTC)
    result = run_night(parsed(tmp_path, FAKE), clock=lambda: moment)
    assert {result.started, result.finished, *(one.started for one in result.folders)} == {
        "2020-02-29T02:00:00.000+00:00"
    }

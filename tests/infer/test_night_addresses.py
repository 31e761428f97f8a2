"""Addresses of those who are told of nights: mistakes in them, and that they are shown nowhere."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import apprise
import pytest

from boatinfer.errors import UsageError
from boatinfer.night.config import read_night
from boatinfer.night.notify import senders
from boatinfer.night.notify.message import Message
from boatinfer.night.notify.secrets import redacted
from boatinfer.night.notify.trial import try_targets
from listeners import SECRET, free_port
from nightly import FAKE, parsed, write
from support import Command


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ('[notify]\nwebhooks = ["htps://s3cr3t-t0ken/"]', 9, "https:// or http://, not with htps:"),
        ('[notify]\nping = "s3cr3t-t0ken"', 9, "the address of ping must begin with https://"),
        ('[notify]\nping = "http:/s3cr3t-t0ken"', 9, "and a host."),
        ('[notify]\napprise = ["s3cr3t-t0ken"]', 9, "a service of apprise, such as mailtos://"),
        ("[notify]\nwhen = 'never'", 9, "when must be one of failure, unusual, always"),
        ("[notify]\nwebhook = ['http://s3cr3t-t0ken']", 9, "did you mean webhooks?"),
        ("[notify]\ntimeout = 0", 9, "timeout must be at least 0.1"),
        ("[notify]\nlink-prefix = '/srv'", 9, "link-prefix must be the address"),
        ("[folder.notify]\nwhen = 'x'", 9, "when must be one of failure, unusual, always"),
        ("[folder.notify]\ntimeout = 3", 9, "there is no key timeout here"),
        (
            "[folder.notfy]\nwhen = 'failure'",
            8,
            "there is no table [notfy] here; did you mean notify?",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_no_secret(
    table: str, line: int, said: str, tmp_path: Path
) -> None:
    file = write(tmp_path, FAKE + table)
    with pytest.raises(UsageError) as raised:
        read_night(file)
    assert str(raised.value).startswith(f"{file}, line {line}: ")
    assert said in str(raised.value)
    assert SECRET not in str(raised.value)


def test_a_service_that_apprise_does_not_know_is_refused_without_its_secret(
    tmp_path: Path, boatinfer: Command
) -> None:
    file = write(tmp_path, FAKE + f'[notify]\napprise = ["nosuch://{SECRET}"]')
    ended = boatinfer("night", "notify", "--test", "-c", file)
    assert (ended.code, ended.out) == (7, "")
    assert ended.err.startswith(f"boatinfer: {file}, line 9: apprise cannot use the address")
    assert SECRET not in ended.err


def test_without_the_extra_the_line_that_installs_it_is_told(
    tmp_path: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    file = write(tmp_path, FAKE + '[notify]\napprise = ["mailto://example.org"]')
    ended = boatinfer("night", "notify", "-c", file)
    assert f"{file}, line 9: apprise 1 needs apprise, which is not installed; run pip" in ended.err
    assert "[notify]'" in ended.err


def test_no_piece_of_an_address_is_left() -> None:
    address = "mailto://me:p%40ss-w0rd@mail.example.org:25?to=you@example.net"
    said = "login of me with p@ss-w0rd or p%40ss-w0rd at mail.example.org to you@example.net"
    assert redacted(said, [address]) == "login of *** with *** or *** at *** to you@***"


def test_a_short_user_and_password_are_redacted_too() -> None:
    said = redacted("login me:pw (me, pw) in some pwd", ["mailto://me:pw@mail.example.org"])
    assert said == "login ***:*** (***, ***) in some pwd"


def test_why_apprise_failed_is_told_without_the_secret_of_any(tmp_path: Path) -> None:
    log = logging.getLogger("apprise")
    before = (log.propagate, list(log.handlers))
    ports = [free_port() for _ in range(2)]
    hosts = [f'"json://u{n}:pw@127.0.0.1:{port}/{SECRET}"' for n, port in enumerate(ports)]
    mail = f"mailto://a:b@127.0.0.1:{ports[0]}?from=a@example.org&to=b@example.org"
    table = f'[notify]\napprise = [{", ".join(hosts)}, "{mail}"]'
    told = dict(try_targets(parsed(tmp_path, FAKE + table), send=True))
    for said in told.values():
        assert "could not be told: " in str(said)
        assert "does not say why" not in str(said)
        assert SECRET not in str(said)
    first, second, third = map(str, told.values())
    assert "connection error" in first.lower()
    assert first.count("JSON") == second.count("JSON") == 1
    assert "JSON" not in third
    assert (log.propagate, list(log.handlers)) == before


def test_apprise_waits_as_long_as_notify_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    def send(self: apprise.NotifyBase, **_: object) -> bool:
        waited.append((self.socket_connect_timeout, self.socket_read_timeout))
        return True

    monkeypatch.setattr("apprise.plugins.custom_json.NotifyJSON.send", send)
    for query in ("", "?rto=3"):
        address = f"json://127.0.0.1/{SECRET}{query}"
        senders.send_by_apprise(address, Message("ok", "title", "text", {}), 7.0)
    assert waited == [(7.0, 7.0), (7.0, 3.0)]


def test_an_error_of_a_library_does_not_give_the_address_away(tmp_path: Path) -> None:
    with pytest.raises(senders.DeliveryError) as raised:
        senders.ping(f"http://127.0.0.1:9/{SECRET} with a space", "", "", 1.0)
    assert SECRET not in str(raised.value)
    assert os.listdir(tmp_path) == []  # noqa: PTH208

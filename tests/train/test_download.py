from __future__ import annotations

import hashlib
import io
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from boatinfer.dataset.labelled_images import find_images
from boatinfer.errors import BusyError, OutputError, UsageError
from boattrain.data import fetch
from boattrain.data.download import download
from boattrain.data.options import DownloadOptions
from server import Site, serving
from support import COUNTS, Command

#: More than a few chunks of a download, so that it can be cut in the middle.
NOISE = np.random.default_rng(0).bytes(400_000)

#: Runs boatinfer with a minute between the tries of a download.
SLOW_RETRIES = """
import sys
from boattrain.data import fetch
from boatinfer import cli
fetch._RETRY_PAUSES = (60.0,)
sys.argv[0] = "boatinfer"
cli.main()
"""


@pytest.fixture
def archive(data: Path) -> bytes:
    """A zip like most: one folder with everything in it, and what macOS adds."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(data.rglob("*.jpg")):
            file.write(path, Path("boat-data") / path.relative_to(data))
        file.writestr("boat-data/noise.bin", NOISE)
        file.writestr("__MACOSX/boat-data/._train", "resource fork")
    return packed.getvalue()


@pytest.fixture
def site(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(fetch, "_RETRY_PAUSES", (0.0, 0.0, 0.0))
    with serving(Site(archive)) as site:
        yield site


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return tmp_path / "made" / "boats"


def is_whole(made: Path) -> bool:
    train, valid = find_images(made)
    assert [len(train.paths), len(valid.paths)] == [3 * count for count in COUNTS.values()]
    assert (made / "noise.bin").read_bytes() == NOISE
    assert {path.name for path in made.iterdir()} == {"train", "valid", "noise.bin"}
    assert [path.name for path in made.parent.iterdir()] == ["boats"]
    return True


def test_a_download_becomes_the_folder(site: Site, made: Path, boatinfer: Command) -> None:
    done = boatinfer("data", "download", site.url, "-o", made)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"unpacked 49 files: {made}\n")
    assert is_whole(made)
    assert site.asked == [None]
    assert site.requests[0]["Accept-Encoding"] == "identity"


def test_a_cut_connection_is_resumed(site: Site, made: Path) -> None:
    site.cuts = [150_000, 100_000]
    download(DownloadOptions(site.url, made))
    assert is_whole(made)
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in site.asked if asked]
    assert len(site.requests) == 3
    assert 0 < starts[0] <= 150_000 < starts[1] <= 250_000
    assert site.requests[1]["If-Range"] == '"one"'


def test_a_later_command_goes_on_where_the_first_one_stopped(
    site: Site, made: Path, boatinfer: Command
) -> None:
    site.cuts = [200_000, 0, 0, 0, 0]
    done = boatinfer("data", "download", site.url, "-o", made)
    assert done.code == OutputError.exit_code
    assert "the same command resumes" in done.err
    assert not made.exists()
    had = (made.parent / "boats.part" / "archive").stat().st_size
    assert had > 100_000

    assert boatinfer("data", "download", site.url, "-o", made).code == 0
    assert site.asked[-1] == f"bytes={had}-"
    assert is_whole(made)


def test_a_killed_download_goes_on(site: Site, made: Path) -> None:
    site.cuts = [200_000]
    command = [sys.executable, "-c", SLOW_RETRIES]
    with subprocess.Popen(
        [*command, "data", "download", site.url, "-o", made], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "trying again in 60 s" in process.stderr.readline()
        process.kill()
    assert not made.exists()
    download(DownloadOptions(site.url, made))
    assert site.asked[-1] is not None
    assert is_whole(made)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_ctrl_c_is_one_sentence(site: Site, made: Path) -> None:
    site.cuts = [200_000]
    command = [sys.executable, "-c", SLOW_RETRIES]
    with subprocess.Popen(
        [*command, "data", "download", site.url, "-o", made], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        time.sleep(0.5)  # it says that it waits before it does
        process.send_signal(2)
        assert "boatinfer: interrupted; the download so far is kept" in process.stderr.read()
    assert process.returncode == 130


def test_a_server_without_ranges_starts_again(site: Site, made: Path) -> None:
    site.ranges, site.cuts = False, [150_000]
    download(DownloadOptions(site.url, made))
    assert is_whole(made)
    assert len(site.requests) == 2


def test_a_file_without_etag_goes_on_by_its_date(site: Site, made: Path) -> None:
    site.etag, site.modified = 'W/"weak"', "Mon, 21 Jan 2018 10:00:00 GMT"
    site.cuts = [150_000]
    download(DownloadOptions(site.url, made))
    assert is_whole(made)
    assert site.requests[1]["If-Range"] == site.modified


def test_a_file_of_which_nothing_is_known_starts_again(site: Site, made: Path) -> None:
    site.etag, site.cuts = "", [150_000]
    download(DownloadOptions(site.url, made))
    assert site.asked == [None, None]
    assert is_whole(made)


@pytest.mark.parametrize("obeys", [True, False])
def test_a_file_that_has_changed_starts_again(
    site: Site, made: Path, archive: bytes, obeys: bool
) -> None:
    site.content, site.cuts = b"the one before" * 20_000, [150_000, 0, 0, 0]
    with pytest.raises(OutputError):
        download(DownloadOptions(site.url, made))
    site.content, site.etag, site.obeys_if_range = archive, '"two"', obeys
    download(DownloadOptions(site.url, made))
    assert is_whole(made)


def test_a_file_that_has_become_shorter_starts_again(
    site: Site, made: Path, archive: bytes
) -> None:
    site.content, site.cuts = archive * 2, [len(archive) + 200_000, 0, 0, 0]
    with pytest.raises(OutputError):
        download(DownloadOptions(site.url, made))
    site.content = archive
    download(DownloadOptions(site.url, made))
    assert is_whole(made)


def test_another_address_starts_again(site: Site, made: Path, archive: bytes) -> None:
    site.content, site.cuts = b"another file" * 20_000, [150_000, 0, 0, 0]
    with pytest.raises(OutputError):
        download(DownloadOptions(site.url, made))
    site.content = archive
    download(DownloadOptions(site.url + "2", made))
    assert site.asked[-1] is None
    assert is_whole(made)


def test_what_was_downloaded_whole_is_not_downloaded_again(
    site: Site, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("boattrain.data.download.unpack", fail)
    with pytest.raises(OutputError, match="No space left"):
        download(DownloadOptions(site.url, made))
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "*")
    download(DownloadOptions(site.url, made))
    assert site.asked == [None, f"bytes={len(site.content)}-"]
    assert is_whole(made)


def test_a_file_of_unknown_length(site: Site, made: Path) -> None:
    site.length = False
    download(DownloadOptions(site.url, made))
    assert is_whole(made)


def test_a_checksum_is_compared(site: Site, made: Path, archive: bytes, boatinfer: Command) -> None:
    right = hashlib.sha256(archive).hexdigest()
    done = boatinfer("data", "download", site.url, "-o", made, "--sha256", "0" * 64)
    assert (done.code, f"has the SHA-256 {right}, not" in done.err) == (2, True)
    assert not list(made.parent.iterdir())
    for wrong in ("12", right[:-1] + "g"):
        done = boatinfer("data", "download", site.url, "-o", made, "--sha256", wrong)
        assert (done.code, "is not a SHA-256" in done.err) == (2, True)
    done = boatinfer("data", "download", site.url, "-o", made, "--sha256", right.upper())
    assert done.code == 0, done.err
    assert is_whole(made)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_is_not_there_is_not_asked_for_again(
    site: Site, made: Path, boatinfer: Command, status: int
) -> None:
    site.statuses = [status] * 9
    done = boatinfer("data", "download", site.url, "-o", made)
    assert done.code == 2
    assert f"the server answered {status}" in done.err
    assert done.err.count("\n") == 1
    assert len(site.requests) == 1
    assert not list(made.parent.iterdir())


def test_what_has_come_outlives_an_answer_that_there_is_nothing(site: Site, made: Path) -> None:
    site.cuts = [200_000, 0, 0, 0]
    with pytest.raises(OutputError):
        download(DownloadOptions(site.url, made))
    site.statuses = [404]
    with pytest.raises(UsageError, match="the server answered 404"):
        download(DownloadOptions(site.url, made))
    download(DownloadOptions(site.url, made))
    assert site.asked[-1] is not None
    assert is_whole(made)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(
    site: Site, made: Path, boatinfer: Command, status: int
) -> None:
    site.statuses, site.retry_after = [status, status], "0"
    done = boatinfer("data", "download", site.url, "-o", made)
    assert done.code == 0
    assert done.err.count(f"the server answered {status}") == 2
    assert is_whole(made)


def test_a_server_that_stays_busy_is_given_up(site: Site, made: Path) -> None:
    site.statuses = [503] * 99
    with pytest.raises(OutputError, match="the server answered 503"):
        download(DownloadOptions(site.url, made))
    assert len(site.requests) == 4


def test_redirections_are_followed_but_not_to_files(
    site: Site, made: Path, tmp_path: Path, archive: bytes
) -> None:
    with serving(Site(redirect=site.url)) as first:
        download(DownloadOptions(first.url, made))
    assert is_whole(made)
    (tmp_path / "boats.zip").write_bytes(archive)
    site.redirect = (tmp_path / "boats.zip").as_uri()
    with pytest.raises(UsageError, match="cannot be downloaded"):
        download(DownloadOptions(site.url, tmp_path / "other"))


def test_a_file_of_this_machine(made: Path, tmp_path: Path, archive: bytes) -> None:
    path = tmp_path / "boat data.zip"
    path.write_bytes(archive)
    download(DownloadOptions(path.as_uri(), made))
    assert is_whole(made)
    assert path.read_bytes() == archive


def test_addresses_that_are_none(made: Path, tmp_path: Path, boatinfer: Command) -> None:
    for url, said in [
        ("boats.zip", "is not an http:// or https:// URL"),
        ("ftp://example.org/boats.zip", "is not an http:// or https:// URL"),
        ("http://", "is not an http:// or https:// URL"),
        ("file://elsewhere/boats.zip", "is not an http:// or https:// URL"),
        ((tmp_path / "none.zip").as_uri(), "does not exist"),
        ("http://no-such-host.invalid/boats.zip", "is unknown"),
        ("http://[broken/boats.zip", "is not an http:// or https:// URL"),
    ]:
        done = boatinfer("data", "download", url, "-o", made)
        assert (done.code, said in done.err) == (2, True), done.err
        assert done.err.count("\n") == 1


def test_nobody_listens(site: Site, made: Path, boatinfer: Command) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/boats.zip"
    done = boatinfer("data", "download", url, "-o", made)
    assert done.code == OutputError.exit_code
    assert "the connection broke (Connection refused); trying again in 0 s" in done.err


def test_a_folder_that_holds_something_is_left_alone(
    site: Site, made: Path, boatinfer: Command
) -> None:
    made.mkdir(parents=True)
    (made / "mine").touch()
    done = boatinfer("data", "download", site.url, "-o", made)
    assert (done.code, "is not empty" in done.err) == (2, True)
    assert not site.requests


def test_two_downloads_to_one_folder(site: Site, made: Path) -> None:
    part = made.parent / "boats.part"
    part.mkdir(parents=True)
    with FileLock(part / ".lock"), pytest.raises(BusyError, match="another process is downloading"):
        download(DownloadOptions(site.url, made))


def test_no_room_for_it(site: Site, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(made.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OutputError, match="there is no space"):
        download(DownloadOptions(site.url, made))


def test_a_web_page_is_no_archive(site: Site, made: Path, boatinfer: Command) -> None:
    site.content = b"\n<!DOCTYPE html><html><body>Boats</body></html>"
    done = boatinfer("data", "download", site.url, "-o", made)
    assert (done.code, "is a web page and not an archive" in done.err) == (2, True)
    assert not list(made.parent.iterdir())

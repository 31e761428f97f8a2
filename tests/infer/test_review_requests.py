"""``boatinfer review`` and requests that no page of its own sends."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import colours
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.labels import LABELS
from boatinfer.review.options import ReviewOptions
from reviewing import Review, reviewing


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run with features."""
    folder = tmp_path_factory.mktemp("requests")
    colours.write_pictures(folder / "in", each=4)
    model = colours.write_model(folder / "colours.onnx")
    run(RunOptions(folder / "in", folder / "out", model, features=True))
    return folder / "out"


@pytest.fixture
def review(finished: Path) -> Iterator[Review]:
    with reviewing(ReviewOptions(finished, train=finished)) as review:
        yield review
    (finished / LABELS).unlink(missing_ok=True)


def _raw(review: Review, data: bytes) -> bytes:
    """All that a connection is answered until its end."""
    with socket.create_connection(("127.0.0.1", review.server.port), timeout=30) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def _request(line: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@pytest.mark.parametrize("line", ["POST /answer", "GET /", "GET /news", "GET /nothing"])
def test_a_body_is_never_a_second_request(review: Review, finished: Path, line: str) -> None:
    client = review.client()
    row = client.questions("unsure")[0]["row"]
    host = {"Host": f"127.0.0.1:{review.server.port}"}
    answer = json.dumps({"request": "1", "rows": [row], "label": "red"}).encode()
    inner = _request("POST /answer", {**client.headers, **host}, answer)
    outer = {**client.headers, **host}
    if line.startswith("POST"):
        outer["Origin"] = "http://evil.example"
    reply = _raw(review, _request(line, outer, inner))
    assert reply.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in reply
    assert not (finished / LABELS).exists()


def test_what_cannot_be_understood_is_refused_without_a_traceback(
    review: Review, capfd: pytest.CaptureFixture[str]
) -> None:
    client = review.client()
    host = f"Host: 127.0.0.1:{review.server.port}\r\n"
    cookie = f"Cookie: {client.headers['Cookie']}\r\n"
    for line in (
        "GET http://[/ HTTP/1.1",
        "GET /questions?reason=unsure&after=500&count=1 HTTP/1.1",
        f"POST /answer HTTP/1.1\r\nContent-Length: {'9' * 5000}",
        "POST /answer HTTP/1.1\r\nContent-Length: -1",
        "POST /answer HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked",
    ):
        reply = _raw(review, f"{line}\r\n{host}{cookie}\r\n".encode())
        assert reply.startswith(b"HTTP/1.1 400 "), line[:60]
        assert b'{"error": "' in reply
    assert capfd.readouterr().err == ""


def test_no_training_image_leads_out_of_the_folder(review: Review) -> None:
    client = review.client()
    assert client.send("/training/0")[0] == 200
    training = review.server.session.training
    assert training is not None
    # a picture that is there, by a way through the folder above
    inside = training.paths[0].as_py()
    training.paths = pa.chunked_array([[f"../in/{inside}", f"{training.folder}/{inside}"]])
    assert [client.send(f"/training/{row}")[0] for row in range(2)] == [404, 404]

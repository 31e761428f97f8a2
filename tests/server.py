"""A web server for tests that serves one file, well or badly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from re import fullmatch


@dataclass
class Site:
    """What the server has and how it behaves; a test may change all of it at any time.

    Attributes:
        content: the file.
        etag: its ETag, with quotes; none if empty.
        modified: its Last-Modified; none if empty.
        ranges: whether parts may be asked for.
        obeys_if_range: whether If-Range is looked at.
        cuts: after how many bytes to break each of the next answers off.
        statuses: what to answer to the next requests instead.
        retry_after: goes with those answers.
        length: whether to say how long the file is.
        redirect: where to send everybody, if not empty.
        requests: the headers of all requests so far.
    """

    content: bytes = b""
    etag: str = '"one"'
    modified: str = ""
    ranges: bool = True
    obeys_if_range: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    retry_after: str = ""
    length: bool = True
    redirect: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def asked(self) -> list[str | None]:
        """The Range headers of all requests so far."""
        return [headers.get("Range") for headers in self.requests]


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serves a site on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, site)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}/boats/download"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def _answer(request: BaseHTTPRequestHandler, site: Site) -> None:
    site.requests.append(dict(request.headers))
    if site.redirect:
        request.send_response(302)
        request.send_header("Location", site.redirect)
        request.end_headers()
        return
    if site.statuses:
        request.send_response(site.statuses.pop(0))
        if site.retry_after:
            request.send_header("Retry-After", site.retry_after)
        request.end_headers()
        return
    start, size = _start(request, site), len(site.content)
    if start is not None and start >= size:
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{size}")
        request.end_headers()
        return
    request.send_response(200 if start is None else 206)
    if site.etag:
        request.send_header("ETag", site.etag)
    if site.modified:
        request.send_header("Last-Modified", site.modified)
    if start is not None:
        request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    body = site.content[start or 0 :]
    if site.length:
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)


def _start(request: BaseHTTPRequestHandler, site: Site) -> int | None:
    """Where the part begins that is asked for and may be had."""
    asked = fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    condition = request.headers.get("If-Range")
    changed = condition not in {None, site.etag, site.modified}
    if not asked or not site.ranges or (changed and site.obeys_if_range):
        return None
    return int(asked[1])

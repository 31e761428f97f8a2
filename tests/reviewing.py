"""A review in the background, and a client for it; for tests."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from boatinfer.review.command import serving
from boatinfer.review.options import ReviewOptions
from boatinfer.review.server import ReviewServer


@dataclass
class Client:
    """A browser without a window, a page or manners."""

    server: ReviewServer
    headers: dict[str, str] = field(default_factory=dict)

    def send(
        self, path: str, body: object = None, **headers: str | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Sends a request; a header of None is left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**self.headers, **names}.items() if value}
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        with contextlib.closing(connection):
            connection.request("GET" if body is None else "POST", path, data, sent)
            reply = connection.getresponse()
            return reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()}

    def get(self, path: str) -> Any:
        """What a request is answered, which must be JSON."""
        return json.loads(self.send(path)[1])

    def post(self, path: str, body: object) -> Any:
        """What a request that writes is answered."""
        return json.loads(self.send(path, body)[1])

    def questions(self, reason: str, count: int = 40) -> list[dict[str, Any]]:
        """The first questions of a section."""
        found: list[dict[str, Any]] = self.get(f"/questions?reason={reason}&after=0&count={count}")[
            "questions"
        ]
        return found


@dataclass
class Review:
    """A review that is being served.

    Attributes:
        server: the server.
        links: the links that were printed.
    """

    server: ReviewServer
    links: list[str]

    def client(self) -> Client:
        """Opens the latest link."""
        client = Client(self.server)
        *_, headers = client.send(self.links[-1].partition(str(self.server.port))[2])
        host = f"127.0.0.1:{self.server.port}"
        client.headers = {
            "Cookie": headers["set-cookie"].split(";")[0],
            "Origin": f"http://{host}",
            "Content-Type": "application/json",
        }
        page = client.send("/")[1].decode()
        (secret,) = re.findall(r'name="review" content="([^"]+)"', page)
        client.headers["X-Review"] = secret
        return client


@contextlib.contextmanager
def reviewing(options: ReviewOptions) -> Iterator[Review]:
    """Serves a review while the body runs."""
    links: list[str] = []
    with serving(options, links.append) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Review(server, links)
        finally:
            server.shutdown()
            thread.join()

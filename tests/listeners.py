"""Servers on this machine that nights tell of: of the web, of mail, and one that never answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Part of all addresses, which must be seen nowhere.
SECRET = "s3cr3t-t0ken"


@dataclass
class Web:
    """What a web server was told.

    Attributes:
        url: its address, with a secret in it.
        statuses: what to answer to the next requests instead of 200.
        requests: path after the secret, and body.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def events(self) -> list[str]:
        """The paths of all requests, without the secret."""
        return [path for path, _ in self.requests]

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The bodies that are JSON."""
        return [json.loads(body) for _, body in self.requests if body.startswith("{")]


@contextmanager
def web_server() -> Iterator[Web]:
    """Takes what is posted."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            web.requests.append((self.path.partition(SECRET)[2], body))
            self.send_response(web.statuses.pop(0) if web.statuses else 200)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        web.url = f"http://127.0.0.1:{server.server_address[1]}/{SECRET}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections, and never answers; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Mail:
    """A mail server's port, and what it was sent."""

    port: int
    mails: list[Any] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Takes a mail."""
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[Mail]:
    """Takes mails."""
    from aiosmtpd.controller import Controller

    mail = Mail(free_port())
    controller = Controller(mail, hostname="127.0.0.1", port=mail.port)
    controller.start()
    try:
        yield mail
    finally:
        controller.stop()

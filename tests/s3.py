"""An S3 server on this machine for tests: moto's, which a test may make misbehave."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

#: What the environment of whoever talks to the server must hold, and not hold.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "boats",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "eu-south-1",
    "AWS_DEFAULT_REGION": "eu-south-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
    "NO_PROXY": "127.0.0.1",
}

#: A method and a path, ``/bucket/key``, to an HTTP status and an error code, or to None.
Misbehaviour = Callable[[str, str], tuple[int, str] | None]


@dataclass
class Server:
    """A running server.

    Attributes:
        url: its address.
        misbehaves: what it answers instead; a test may set it at any time.
        delay: seconds that every request takes longer.
        obeys_conditions: whether it looks at If-None-Match and If-Match.
        requests: method and path of all requests so far.
        at_once: how many requests it is answering.
        most_at_once: the most that it has answered at the same time.
    """

    url: str = ""
    misbehaves: Misbehaviour = lambda method, path: None
    delay: float = 0.0
    obeys_conditions: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def behave(self) -> None:
        """Takes back whatever a test wanted."""
        self.misbehaves, self.delay, self.obeys_conditions = (lambda method, path: None), 0.0, True
        self.requests.clear()
        self.most_at_once = 0

    @functools.cached_property
    def client(self) -> Any:
        """A botocore client, for what a test puts into buckets and takes out."""
        keys = {"aws_access_key_id": "boats", "aws_secret_access_key": "secret"}
        session = botocore.session.get_session()
        return session.create_client("s3", "eu-south-1", endpoint_url=self.url, **keys)

    def fill(self, bucket: str, folder: Path, prefix: str = "") -> None:
        """Copies a folder into a bucket."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                key = prefix + file.relative_to(folder).as_posix()
                self.client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())

    def asked(self, method: str, ending: str) -> int:
        """How many requests of a method there were for paths with an ending."""
        return sum(m == method and path.endswith(ending) for m, path in self.requests)


@contextmanager
def serving() -> Iterator[Server]:
    """Runs a server on a free port of this machine."""
    server, moto = Server(), DomainDispatcherApplication(create_backend_app)
    counting = threading.Lock()

    def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        path = path.encode("latin-1").decode()
        server.requests.append((method, path))
        with counting:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        time.sleep(server.delay)
        with counting:
            server.at_once -= 1
        wrong = server.misbehaves(method, path)
        if wrong is not None:
            status, code = wrong
            body = f"<Error><Code>{code}</Code><Message>As the test wants.</Message></Error>"
            start(f"{status} {code}", [("Content-Type", "application/xml")])
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return [] if method == "HEAD" else [body.encode()]
        if not server.obeys_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
            environ.pop("HTTP_IF_MATCH", None)
        return moto(environ, start)  # type: ignore[no-any-return]

    listening = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    server.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        pass

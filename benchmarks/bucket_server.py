"""The barest S3 server: a folder, read-only, from memory, every answer late by a delay.

Usage: python benchmarks/bucket_server.py FOLDER PORT SECONDS

What it costs is part of what `bucket_speed.py` measures around it, so it does nothing that an
answer does not need: no signatures are looked at, and only what a run asks for is there.
"""

from __future__ import annotations

import asyncio
import sys
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000
WRITTEN = 1_793_500_000
_OBJECT = (
    "<Contents><Key>{}</Key><LastModified>2026-11-01T02:13:20.000Z</LastModified>"
    "<ETag>&quot;{:032x}&quot;</ETag><Size>{}</Size></Contents>"
)


class Bucket:
    """Objects, and the answers about them."""

    def __init__(self, folder: Path) -> None:
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        contents = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
        self.keys = sorted(contents)
        modified = formatdate(WRITTEN, usegmt=True)
        self.objects = {
            key: _answer(contents[key], f'ETag: "{number:032x}"\r\nLast-Modified: {modified}\r\n')
            for number, key in enumerate(self.keys)
        }
        self.sizes = {key: len(content) for key, content in contents.items()}

    def get(self, target: str) -> bytes:
        """The answer to a GET or HEAD of ``/bucket/key`` or of ``/bucket?list-type=2``."""
        url = urlsplit(target)
        key = unquote(url.path).lstrip("/").partition("/")[2]
        if key:
            return self.objects.get(key, _answer(b"", status="404 Not Found"))
        return _answer(self._page(parse_qs(url.query)))

    def _page(self, query: dict[str, list[str]]) -> bytes:
        start = int(query.get("continuation-token", ["0"])[0])
        keys = self.keys[start : start + PAGE]
        items = "".join(
            _OBJECT.format(escape(key), start + i, self.sizes[key]) for i, key in enumerate(keys)
        )
        more = start + PAGE < len(self.keys)
        token = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if more else ""
        return (
            "<ListBucketResult><Name>b</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys>"
            f"<KeyCount>{len(keys)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{items}</ListBucketResult>"
        ).encode()


def _answer(body: bytes, headers: str = "", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


async def serve(bucket: Bucket, port: int, delay: float) -> None:
    """Answers until it is killed."""
    loop = asyncio.get_running_loop()

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport, self.waiting = transport, b""

        def data_received(self, data: bytes) -> None:
            self.waiting += data
            while b"\r\n\r\n" in self.waiting:
                head, _, self.waiting = self.waiting.partition(b"\r\n\r\n")
                method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                answer = bucket.get(target) if method == "GET" else _answer(b"")
                loop.call_later(delay, self.transport.write, answer)

    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Bucket(Path(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3])))

"""The server of the review page, on the loopback interface only.

The standard library is enough for one page and two people. What guards it: a link that works once
and is exchanged for a cookie; the headers ``Host`` and ``Origin``; a second secret in the page
for everything that writes; and a content security policy without inline scripts. Images are named
by their row, never by a path.
"""

from __future__ import annotations

import functools
import json
import re
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jinja2

from boatinfer.errors import BoatinferError, ImageError, UsageError
from boatinfer.results.labels import CANNOT_TELL, NONE_OF_THESE, SEVERAL
from boatinfer.review.candidates import is_inside
from boatinfer.review.pictures import FULL, SMALL, Picture, Pictures

if TYPE_CHECKING:
    from boatinfer.review.session import Session

__all__ = ["ReviewServer"]

#: Names of this machine's loopback interface, with any port: a tunnel may have another one.
_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
#: Bytes of a request's body, questions of an answer, and seconds that a request may take.
_BODY, _MOST, _SECONDS = 65_536, 48, 60
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NOTHING: Mapping[str, Any] = {}
_TEMPLATES = files("boatinfer.review") / "templates"


class _Refused(Exception):  # noqa: N818 (no error of ours: an answer to a request)
    """A request that is refused."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class ReviewServer(ThreadingHTTPServer):
    """Serves one session.

    Args:
        port: the port; 0 means any free one.
        session: the session.
        pictures: makes full-size pictures.
        training: makes pictures of training images; None if there are none.
        on_link: called with each link that opens the page once.
    """

    daemon_threads = True

    def __init__(
        self,
        port: int,
        session: Session,
        pictures: Pictures,
        training: Pictures | None,
        on_link: Callable[[str], None],
    ) -> None:
        self.session, self.pictures, self.training = session, pictures, training
        self.cookie, self.csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._on_link, self._token = on_link, ""
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be used: {error.strerror}; give another --port."
            ) from error
        self.new_link()

    @property
    def port(self) -> int:
        """The port."""
        return int(self.server_address[1])

    def new_link(self) -> None:
        """Makes a link that opens the page once."""
        self._token = secrets.token_urlsafe(24)
        self._on_link(f"http://127.0.0.1:{self.port}/?token={self._token}")

    def redeem(self, token: str) -> bool:
        """Whether a token is that of the link, which no longer works then."""
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return False
        self.new_link()
        return True


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "boatinfer", ""
    timeout = _SECONDS
    server: ReviewServer

    def do_GET(self) -> None:
        """Answers what only reads."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answers what writes."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Writes no log: links and names are in it."""

    def _answer(self, work: Callable[[], None]) -> None:
        try:
            self._require_this_machine()
            work()
        except _Refused as refused:
            self._fail(refused.status, str(refused))
        except UsageError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except ImageError as error:
            self._fail(HTTPStatus.NOT_FOUND, str(error))
        except BoatinferError as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _require_this_machine(self) -> None:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "none")
        if not _HOST.fullmatch(host):
            raise _Refused(HTTPStatus.FORBIDDEN, "this page is for this machine alone.")
        if origin not in {None, f"http://{host}"} or site not in {"none", "same-origin"}:
            raise _Refused(HTTPStatus.FORBIDDEN, "another page may not ask for this.")

    def _get(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding"):
            raise _Refused(HTTPStatus.BAD_REQUEST, "what only reads has no body.")
        try:
            url = urlsplit(self.path)
        except ValueError:
            raise _Refused(HTTPStatus.BAD_REQUEST, "this is no address.") from None
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/" and "token" in query and self.server.redeem(query["token"]):
            self._welcome()
            return
        self._require_cookie()
        if url.path == "/":
            self._page()
        elif url.path in {"/review.css", "/review.js"}:
            kind = "text/css" if url.path.endswith("css") else "text/javascript"
            self._send(kind, (_TEMPLATES / url.path[1:]).read_bytes())
        elif url.path == "/questions":
            self._questions(query)
        elif url.path == "/news":
            self._news(query)
        elif match := re.fullmatch(r"/(image|full|small|training)/(\d{1,9})", url.path):
            self._image(match[1], int(match[2]))
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page.")

    def _post(self) -> None:
        body = self._body()
        self._require_cookie()
        sent = self.headers.get("X-Review", "")
        if self.headers.get("Origin") is None or not secrets.compare_digest(
            sent.encode(errors="replace"), self.server.csrf.encode()
        ):
            raise _Refused(HTTPStatus.FORBIDDEN, "another page may not write here.")
        session = self.server.session
        if self.path == "/answer":
            rows, label, request = body.get("rows"), body.get("label"), body.get("request")
            if not (
                isinstance(rows, list)
                and all(type(row) is int for row in rows)
                and isinstance(label, str)
                and isinstance(request, str)
            ):
                raise _Refused(HTTPStatus.BAD_REQUEST, "this is no answer.")
            told = session.answer(request, rows, label)
        elif self.path == "/undo":
            told = session.undo()
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page.")
        self._news({"since": str(body.get("since", 0))}, told._asdict())

    def _require_cookie(self) -> None:
        try:
            cookies = SimpleCookie(self.headers.get("Cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        found = cookies.get(self._cookie_name)
        if found is None or not secrets.compare_digest(
            found.value.encode(), self.server.cookie.encode()
        ):
            raise _Refused(
                HTTPStatus.FORBIDDEN,
                "this link was used before or is not of this session; open the latest one that "
                "'boatinfer review' has printed.",
            )

    @property
    def _cookie_name(self) -> str:
        return f"boatinfer-review-{self.server.port}"  # cookies do not tell ports apart

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        known = re.fullmatch("[0-9]{1,9}", length) and not self.headers.get("Transfer-Encoding")
        if not known or int(length) > _BODY:
            raise _Refused(HTTPStatus.BAD_REQUEST, "the request is too large.")
        data = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this is no answer.")
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "this is no answer.")
        return body

    def _welcome(self) -> None:
        self.send_response(HTTPStatus.SEE_OTHER)
        cookie = f"{self._cookie_name}={self.server.cookie}; HttpOnly; SameSite=Strict; Path=/"
        self.send_header("Set-Cookie", cookie)
        self.send_header("Location", "/")
        self._end("text/plain", b"", "no-store")

    def _page(self) -> None:
        session = self.server.session
        summary = session.candidates.summary
        special = {"none": NONE_OF_THESE, "several": SEVERAL, "cannot": CANNOT_TELL}
        facts = {
            "csrf": self.server.csrf,
            "special": special,
            "model": summary.model_name,
            "folder": summary.folder,
            "images": len(session.candidates),
            "only_new": session.candidates.only_new,
        }
        self._send("text/html", _page_template().render(facts).encode())

    def _questions(self, query: dict[str, str]) -> None:
        reason, after = query.get("reason", ""), _number(query.get("after"))
        count = min(max(1, _number(query.get("count"))), _MOST)
        questions, where = self.server.session.ask(reason, after, count)
        self._send_json({"questions": questions, "after": where})

    def _news(self, query: dict[str, str], told: Mapping[str, Any] = _NOTHING) -> None:
        session = self.server.session
        changes, since = session.changes(_number(query.get("since")))
        estimate = session.estimate()
        self._send_json(
            {
                **told,
                "changes": changes,
                "since": since,
                "sections": session.section_list(),
                "classes": session.classes(),
                "saved": session.saved,
                "answered": session.answered,
                "estimate": "" if estimate is None else estimate.text(),
                "problems": session.problems,
            }
        )

    def _image(self, kind: str, row: int) -> None:
        session, server = self.server.session, self.server
        if kind == "training":
            if server.training is None or session.training is None:
                raise _Refused(HTTPStatus.NOT_FOUND, "there are no training images.")
            paths = session.training.paths
            if row >= len(paths) or not is_inside(paths[row].as_py()):
                raise _Refused(HTTPStatus.NOT_FOUND, "there is no such image.")
            jpeg = _made(server.training, paths[row].as_py(), SMALL)
        elif row >= len(session.candidates) or not session.candidates.may_show(row):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such image.")
        elif kind == "full":
            jpeg = _made(server.pictures, session.candidates.path(row), FULL)
        else:
            jpeg = session.questions.jpeg(row, large=kind == "image")
        self._send("image/jpeg", jpeg, "private, max-age=3600")

    def _send_json(self, document: object) -> None:
        self._send("application/json", json.dumps(document).encode())

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self.send_response(status)
        # the body may be unread, and must not be taken for a second request
        self.send_header("Connection", "close")
        self.close_connection = True
        self._end("application/json", json.dumps({"error": message}).encode(), "no-store")

    def _send(self, kind: str, data: bytes, cache: str = "no-store") -> None:
        self.send_response(HTTPStatus.OK)
        self._end(kind, data, cache)

    def _end(self, kind: str, data: bytes, cache: str) -> None:
        charset = "" if kind.startswith("image/") else "; charset=utf-8"
        headers = {"Content-Type": f"{kind}{charset}", "Content-Length": str(len(data))}
        for name, value in {**headers, "Cache-Control": cache, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0


def _made(pictures: Pictures, path: str, limits: tuple[int, int]) -> bytes:
    (made,) = pictures.make([path], limits)
    if isinstance(made, Picture):
        return made.jpeg
    raise made


@functools.cache
def _page_template() -> jinja2.Template:
    source = (_TEMPLATES / "review.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)

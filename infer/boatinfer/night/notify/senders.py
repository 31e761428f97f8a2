"""Tells others: through apprise, as a JSON document, or as a ping."""

from __future__ import annotations

import contextvars
import http.client
import json
import logging
import ssl
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from boatinfer._version import __version__
from boatinfer.errors import UsageError, install_hint
from boatinfer.night.notify.message import Message
from boatinfer.night.notify.secrets import redacted
from boatinfer.night.notify.settings import Target

__all__ = ["DeliveryError", "check_apprise", "ping", "post_document", "send_by_apprise"]

#: Characters of a body of a ping at most, the last ones: services keep no more.
_PING_CHARACTERS = 10_000


class DeliveryError(Exception):
    """Somebody could not be told.

    Args:
        reason: why, without any secret.
        again: whether another attempt tells nobody twice, and may succeed.
    """

    def __init__(self, reason: str, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


def post_document(address: str, message: Message, timeout: float) -> None:
    """Posts the JSON document of a message.

    Raises:
        DeliveryError: the server did not take it.
    """
    _post(address, json.dumps(message.document).encode(), "application/json", timeout)


def ping(address: str, event: str, text: str, timeout: float) -> None:
    """Tells a check that expects every night, by the protocol of healthchecks.io.

    Args:
        address: of the check.
        event: ``start``, ``fail``, ``log``, or empty for success.
        text: is shown with it; of a long one the end.
        timeout: seconds that the server may take.

    Raises:
        DeliveryError: the server did not take it.
    """
    parts = urlsplit(address)
    path = "/".join(filter(None, (parts.path.rstrip("/"), event)))
    body = text[-_PING_CHARACTERS:].encode()
    _post(parts._replace(path=path).geturl(), body, "text/plain; charset=utf-8", timeout)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects alone: the document would not be sent along."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(address: str, body: bytes, kind: str, timeout: float) -> None:
    headers = {"Content-Type": kind, "User-Agent": f"boatinfer/{__version__}"}
    try:
        request = urllib.request.Request(address, body, headers, method="POST")
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=timeout) as response:
            response.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        raise DeliveryError(f"the server answered {error.code}", _is_passing(error.code)) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _delivery_error(error, timeout) from None


def _is_passing(status: int) -> bool:
    return status == http.HTTPStatus.TOO_MANY_REQUESTS or status >= http.HTTPStatus.BAD_GATEWAY


def _delivery_error(error: Exception, timeout: float) -> DeliveryError:
    """What went wrong, in words of ours: those of libraries may have the address in them."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return DeliveryError(f"no answer within {timeout:g} s")
    if isinstance(cause, ssl.SSLError):
        return DeliveryError(f"no secure connection ({cause.reason or 'TLS'})")
    if isinstance(cause, ConnectionRefusedError):
        return DeliveryError("the connection was refused", again=True)
    if isinstance(cause, OSError):
        return DeliveryError(f"no connection ({cause.strerror or type(cause).__name__})", True)
    return DeliveryError(f"this is no address of a server ({type(cause).__name__})")


def check_apprise(target: Target, address: str) -> None:
    """Refuses an address that apprise does not know.

    Raises:
        UsageError: with the place in the file; or apprise is not installed.
    """
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{target.where}: {target.name} needs {error.name}, which is not installed; "
            f"{install_hint('notify')}."
        ) from None
    with _AppriseLog():
        service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    if service is None:
        scheme = address.partition(":")[0]
        raise UsageError(
            f"{target.where}: apprise cannot use the address of {target.name}, which begins with "
            f"{scheme}://; see its documentation for what this service needs."
        )


def send_by_apprise(address: str, message: Message, timeout: float) -> None:
    """Sends a message through apprise.

    Args:
        address: of apprise; its ``cto`` and ``rto`` take the place of the timeout.
        message: what is told.
        timeout: seconds that the server may take.

    Raises:
        DeliveryError: it was not sent.
    """
    import apprise

    kinds = {"failure": "failure", "unusual": "warning", "ok": "success"}
    asset = apprise.AppriseAsset(async_mode=False, app_id="boatinfer")
    with _AppriseLog() as log:
        service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
        sent = False
        if service is not None:
            given = dict(parse_qsl(urlsplit(address).query))
            if "cto" not in given:
                service.socket_connect_timeout = timeout
            if "rto" not in given:
                service.socket_read_timeout = timeout
            sender = apprise.Apprise(asset=asset)
            sender.add(service)
            sent = bool(
                sender.notify(
                    message.text,
                    message.title,
                    notify_type=apprise.NotifyType(kinds.get(message.status, "info")),
                    body_format=apprise.NotifyFormat.TEXT,
                )
            )
    if not sent:
        said = redacted(" ".join(dict.fromkeys(log.lines)), [address])
        raise DeliveryError(said.rstrip(".") or "apprise does not say why")


#: The log of the message that is being sent; apprise hands it on to its own threads.
_current: contextvars.ContextVar[_AppriseLog | None] = contextvars.ContextVar("log", default=None)


class _AppriseLog(logging.Handler):
    """What apprise says of one message, in any thread, which is not printed."""

    _guard = threading.Lock()
    _open = 0
    _propagated = True

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if _current.get() is self:
            self.lines.append(record.getMessage())

    def __enter__(self) -> _AppriseLog:
        self._token = _current.set(self)
        log, kind = logging.getLogger("apprise"), type(self)
        with self._guard:
            if not kind._open:
                kind._propagated, log.propagate = log.propagate, False
            kind._open += 1
            log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        log, kind = logging.getLogger("apprise"), type(self)
        with self._guard:
            log.removeHandler(self)
            kind._open -= 1
            if not kind._open:
                log.propagate = kind._propagated
        _current.reset(self._token)

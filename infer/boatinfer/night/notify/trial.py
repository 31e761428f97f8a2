"""Tries whether those who are to be told can be."""

from __future__ import annotations

from collections.abc import Iterator

from boatinfer.errors import UsageError
from boatinfer.night.config import Night
from boatinfer.night.notify.message import trial_message
from boatinfer.night.notify.outbox import Outbox, send_message
from boatinfer.night.notify.secrets import read_address
from boatinfer.night.notify.senders import check_apprise, ping
from boatinfer.night.notify.settings import Kind, Target

__all__ = ["checked_targets", "try_targets"]


def checked_targets(night: Night) -> Iterator[tuple[Target, UsageError | None]]:
    """Says of each whether its address can be used, without a connection."""
    for target in night.targets:
        try:
            address = read_address(target)
            if target.kind is Kind.APPRISE:
                check_apprise(target, address)
        except UsageError as error:
            yield target, error
        else:
            yield target, None


def try_targets(night: Night, send: bool) -> Iterator[tuple[Target, str | None]]:
    """Tells everybody that this is a test.

    Args:
        night: what a night is.
        send: whether to send a message, rather than to read the addresses alone; checks get a
            line of their log, which changes nothing.

    Yields:
        Each target, and why it could not be told; None if it was.

    Raises:
        UsageError: there is nobody to tell.
    """
    if not night.targets:
        raise UsageError(
            f"{night.file} names nobody to tell; add a table [notify] with apprise, webhooks or "
            "ping."
        )
    if not send:
        for target, error in checked_targets(night):
            yield target, str(error) if error else None
        return
    outbox, message = Outbox(night.notify.timeout), trial_message(night)
    for target in night.targets:
        if target.kind is Kind.PING:
            outbox.put(target, lambda url, limit: ping(url, "log", message.text, limit))
        else:
            send_message(outbox, target, message)
    yield from outbox.close().items()

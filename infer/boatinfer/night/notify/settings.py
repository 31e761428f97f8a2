"""The tables ``[notify]`` and ``[folder.notify]``: who is told, and when."""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boatinfer.errors import UsageError
from boatinfer.night.keys import Key

__all__ = [
    "NOBODY",
    "Kind",
    "Notify",
    "Target",
    "When",
    "check_scheme",
    "folder_notify_keys",
    "notify_keys",
]

#: Seconds that a server may take by default.
_TIMEOUT = 10.0
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


class When(enum.StrEnum):
    """Which nights people are told of."""

    FAILURE = "failure"
    UNUSUAL = "unusual"
    ALWAYS = "always"


class Kind(enum.StrEnum):
    """How somebody is told."""

    APPRISE = "apprise"
    WEBHOOK = "webhook"
    PING = "ping"


@dataclass(frozen=True)
class Target:
    """Whom to tell.

    Attributes:
        kind: how.
        number: which one of the kind, from 1 on.
        address: its URL as it stands in the file: with the names of environment variables, or
            ``file:`` and the name of the file that holds it. It is told to nobody.
        where: file and line of ``night.toml``.
        folder: that names of files are relative to.
    """

    kind: Kind
    number: int
    address: str = field(repr=False)
    where: str = field(compare=False)
    folder: Path = field(compare=False)

    @property
    def name(self) -> str:
        """How it is called: the address is a secret."""
        return str(self.kind) if self.kind is Kind.PING else f"{self.kind} {self.number}"


@dataclass(frozen=True)
class Notify:
    """Whom to tell of a night or a folder, and when; `notify_keys` says what each is."""

    apprise: Sequence[Target] = ()
    webhooks: Sequence[Target] = ()
    ping: Sequence[Target] = ()
    when: When = When.UNUSUAL
    timeout: float = _TIMEOUT
    link_prefix: str | None = None

    @property
    def messages(self) -> list[Target]:
        """Those that are sent messages."""
        return [*self.apprise, *self.webhooks]

    @property
    def targets(self) -> list[Target]:
        """All."""
        return [*self.messages, *self.ping]

    def replaced(
        self, values: Mapping[str, Any], where: Callable[[str], str], folder: Path
    ) -> Notify:
        """The settings with those of a table in place of their own.

        Args:
            values: of the table, by their names in Python.
            where: gives file and line of a key.
            folder: that names of files are relative to.

        Raises:
            UsageError: an address cannot be one.
        """
        changed = dict(values)
        for name, kind in _KINDS.items():
            if name in changed:
                given = changed[name] if isinstance(changed[name], list) else [changed[name]]
                changed[name] = tuple(
                    _checked(Target(kind, number, address, where(name), folder))
                    for number, address in enumerate(given, 1)
                )
        if "when" in changed:
            changed["when"] = When(changed["when"])
        if "link_prefix" in changed:
            _check_prefix(changed["link_prefix"], where("link-prefix"))
        return dataclasses.replace(self, **changed)


#: Nobody is told.
NOBODY = Notify()
_KINDS = {"apprise": Kind.APPRISE, "webhooks": Kind.WEBHOOK, "ping": Kind.PING}


def _checked(target: Target) -> Target:
    """Refuses an address that begins with a wrong scheme, as far as it is in the file."""
    if target.address.startswith(("${", "file:")):
        return target
    check_scheme(target, target.address)
    return target


def check_scheme(target: Target, address: str) -> None:
    """Refuses an address that its kind has no use for; says no more of it than its scheme.

    Raises:
        UsageError: with the place in the file.
    """
    found = _SCHEME.match(address)
    scheme = found[1].lower() if found else ""
    web = target.kind is not Kind.APPRISE
    if (scheme in {"http", "https"} if web else scheme) and re.match(r"[^:]+://[^/?#\s]", address):
        return
    given = f"not with {scheme}:" if scheme and (not web or "http" not in scheme) else "and a host"
    raise UsageError(
        f"{target.where}: the address of {target.name} must begin with "
        + (f"https:// or http://, {given}." if web else "a service of apprise, such as mailtos://.")
    )


def _check_prefix(prefix: str, where: str) -> None:
    if not re.match(r"https?://[^/\s]", prefix):
        raise UsageError(
            f"{where}: link-prefix must be the address of the folder of the page, such as "
            "https://server/nights."
        )


@functools.cache
def notify_keys() -> dict[str, Key]:
    """The keys of ``[notify]``."""
    text = {"type": "string", "minLength": 1}
    several = {"type": "array", "items": text, "uniqueItems": True}
    secret = "; ${NAME} is an environment variable, file:NAME a file that holds it"
    keys = [
        Key(
            "apprise",
            f"Addresses of apprise (mail, chat, push; needs the extra notify){secret}.",
            several,
        ),
        Key("webhooks", f"URLs to which a JSON document is posted{secret}.", several),
        Key(
            "ping",
            "URL of a check that expects every night, as of healthchecks.io: it is told of the "
            f"start, and of success or failure{secret}.",
            text,
        ),
        Key(
            "when",
            "Which nights apprise and webhooks are told of: failure, unusual (these too), always.",
            {"enum": [one.value for one in When]},
            When.UNUSUAL.value,
        ),
        Key(
            "timeout",
            "Seconds that a server may take to answer.",
            {"type": "number", "minimum": 0.1, "maximum": 300},
            _TIMEOUT,
        ),
        Key(
            "link-prefix",
            "Address of the folder of the page index.html, for the links of messages; by default "
            "they name the file.",
            text,
        ),
    ]
    return {key.name: key for key in keys}


@functools.cache
def folder_notify_keys() -> dict[str, Key]:
    """The keys of ``[folder.notify]``, which take the place of those of ``[notify]``."""
    own = ("apprise", "webhooks", "ping", "when")
    return {name: dataclasses.replace(notify_keys()[name], default=None) for name in own}

"""Addresses of those who are told: secrets, read when they are needed and never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from boatinfer.errors import UsageError
from boatinfer.night.notify.settings import Target, check_scheme

__all__ = ["environment_names", "read_address", "redacted"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FILE = "file:"
#: Shorter pieces of an address, such as ``to``, are parts of other words, and no secrets but for
#: the user and the password.
_SHORTEST = 4


def environment_names(target: Target) -> list[str]:
    """The environment variables that an address is made of."""
    return _VARIABLE.findall(target.address)


def read_address(target: Target) -> str:
    """The address with its secrets.

    Raises:
        UsageError: a variable or file is missing, or what it says is no such address.
    """
    text = target.address
    if text.startswith(_FILE):
        text = _read(target, text.removeprefix(_FILE))
    else:
        text = _VARIABLE.sub(lambda match: _variable(target, match[1]), text)
    check_scheme(target, text)
    return text


def _variable(target: Target, name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise UsageError(
            f"{target.where}: the environment variable {name} of {target.name} is not set; set "
            "it, or write file: and the name of a file."
        )
    return value


def _read(target: Target, name: str) -> str:
    file = target.folder / Path(name).expanduser()
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(
            f"{target.where}: the file {file} of {target.name} cannot be read: {error.strerror}; "
            "check its name and who may read it."
        ) from None
    except UnicodeDecodeError:
        text = ""
    if not text or len(text.splitlines()) > 1:
        raise UsageError(
            f"{target.where}: the file {file} of {target.name} must hold one line, the address."
        )
    return text


def redacted(text: str, addresses: Iterable[str]) -> str:
    """The text without the addresses, and without any piece of them that may be a secret."""
    pieces: set[str] = set()
    names: set[str] = set()
    for address in addresses:
        _, _, rest = address.partition("://")
        for form in (address, rest, unquote(rest)):
            pieces |= {form, *re.split(r"[/:@?&=,;#\s]+", form)}
        user, _, _ = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
        # The user and the password, however short, and with what else would divide them.
        names |= {form for part in user.split(":") if part for form in (part, unquote(part))}
    found = names | {piece for piece in pieces if len(piece) >= _SHORTEST}
    for piece in sorted(found, key=len, reverse=True):
        if len(piece) >= _SHORTEST:
            text = text.replace(piece, "***")
        else:  # not inside of other words
            text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)", "***", text)
    return text

"""What a bucket's store refuses, as errors of ours."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from typing import Any

from boatinfer.errors import UsageError, first_line

__all__ = [
    "StoreDeniedError",
    "StoreError",
    "StoreExistsError",
    "StoreMissingError",
    "reason_of",
    "refusals",
    "refused_key",
]


@contextlib.contextmanager
def refusals(where: str) -> Iterator[None]:
    """Turns what obstore and botocore raise into a `StoreError` of its kind.

    Args:
        where: the URI of what is asked for.

    Raises:
        StoreError: the store refuses, or does not answer.
        UsageError: obstore refuses the key.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from obstore import exceptions as refused

    try:
        yield
    except StoreError:  # it is told already
        raise
    except FileNotFoundError as error:
        raise _missing(error, where) from error
    except (refused.AlreadyExistsError, refused.PreconditionError) as error:
        raise StoreExistsError(errno.EEXIST, "it has been written", where) from error
    except refused.InvalidPathError as error:  # of another key in the folder
        raise refused_key(where) from error
    except (refused.BaseError, BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and _http_status(error) == 404:
            raise _missing(error, where) from error
        reason = reason_of(error)
        if re.search(r"status code: 40[13]|\((403|AccessDenied)\)", str(error)):
            reason = f"the store denies access ({reason})"
            raise StoreDeniedError(errno.EACCES, reason, where) from error
        raise StoreError(errno.EIO, reason, where) from error


def refused_key(where: str) -> UsageError:
    """What to say of a key that obstore does not take."""
    return UsageError(
        f"{where}: results cannot be where a name between two slashes is empty, . or .., or has "
        "control characters; choose another folder."
    )


def reason_of(error: Exception) -> str:
    """What a store says in its answer, or what kept it from answering."""
    text = str(error)
    if "token request" in text:  # to Google's metadata server, after all else
        return (
            "no credentials were found; set GOOGLE_APPLICATION_CREDENTIALS to a key file, or log "
            "in with gcloud"
        )
    code = re.search(r"<Code>(\w+)</Code>", text)
    if code is None:
        return first_line(error)
    message = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    return f"{code[1]}: {message[1].rstrip('.')}" if message else code[1]


def _missing(error: Exception, where: str) -> StoreMissingError:
    what = "bucket" if "NoSuchBucket" in str(error) else "object"
    return StoreMissingError(errno.ENOENT, f"there is no such {what}", where)


def _http_status(error: Any) -> int | None:
    """The HTTP status in what botocore raises."""
    status: int | None = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


class StoreError(OSError):
    """What a bucket's store refused, where a disk would raise an `OSError`."""

    exit_code = 7

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}."


class StoreMissingError(StoreError, FileNotFoundError):
    """There is no such object, or no such bucket."""


class StoreDeniedError(StoreError, PermissionError):
    """The store does not let us."""


class StoreExistsError(StoreError, FileExistsError):
    """A conditional PUT came too late."""

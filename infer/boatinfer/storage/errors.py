"""Translates the errors of an object store into exceptions of this package."""

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
    "error_reason",
    "translate_store_errors",
    "unsupported_key_error",
]


@contextlib.contextmanager
def translate_store_errors(uri: str) -> Iterator[None]:
    """Translates the exceptions of obstore and botocore into a `StoreError`.

    Args:
        uri: the URI of the object.

    Raises:
        StoreError: the store refused the request, or did not answer.
        UsageError: obstore refuses the key.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from obstore import exceptions as obstore_errors

    try:
        yield
    except StoreError:  # already translated
        raise
    except FileNotFoundError as error:
        raise _missing(error, uri) from error
    except (obstore_errors.AlreadyExistsError, obstore_errors.PreconditionError) as error:
        raise StoreExistsError(errno.EEXIST, "it has been written", uri) from error
    except obstore_errors.InvalidPathError as error:  # of another key in the folder
        raise unsupported_key_error(uri) from error
    except (obstore_errors.BaseError, BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and _http_status(error) == 404:
            raise _missing(error, uri) from error
        reason = error_reason(error)
        if re.search(r"status code: 40[13]|\((403|AccessDenied)\)", str(error)):
            reason = f"the store denies access ({reason})"
            raise StoreDeniedError(errno.EACCES, reason, uri) from error
        raise StoreError(errno.EIO, reason, uri) from error


def unsupported_key_error(uri: str) -> UsageError:
    """The error for a key that obstore does not support."""
    return UsageError(
        f"{uri}: results cannot be where a name between two slashes is empty, . or .., or has "
        "control characters; choose another folder."
    )


def error_reason(error: Exception) -> str:
    """The reason of an error: the store's error code and message, or the exception's."""
    text = str(error)
    if "token request" in text:  # of Google's metadata server, the last source that is tried
        return (
            "no credentials were found; set GOOGLE_APPLICATION_CREDENTIALS to a key file, or log "
            "in with gcloud"
        )
    code = re.search(r"<Code>(\w+)</Code>", text)
    if code is None:
        return first_line(error)
    message = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    return f"{code[1]}: {message[1].rstrip('.')}" if message else code[1]


def _missing(error: Exception, uri: str) -> StoreMissingError:
    missing = "bucket" if "NoSuchBucket" in str(error) else "object"
    return StoreMissingError(errno.ENOENT, f"there is no such {missing}", uri)


def _http_status(error: Any) -> int | None:
    """The HTTP status of a botocore error."""
    status: int | None = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


class StoreError(OSError):
    """The store refused a request, where a disk would raise an `OSError`."""

    exit_code = 7

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}."


class StoreMissingError(StoreError, FileNotFoundError):
    """There is no such object, or no such bucket."""


class StoreDeniedError(StoreError, PermissionError):
    """The store denies access."""


class StoreExistsError(StoreError, FileExistsError):
    """The condition of a PUT does not hold."""

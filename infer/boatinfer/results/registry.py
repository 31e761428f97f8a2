"""``OUT/models/``: models of a results folder, and who put which into service, and why.

    OUT/models/SHA256.onnx   copies of the model files
    OUT/models/log.jsonl     one line an event, see `Event`; what is in service follows from it
    OUT/models/shadow/       parts with what challengers say, see `boatinfer.pipeline.shadow`
    OUT/models/before/       the tables as they were before the last promotion

Model files have outputs added to them without a change of what they say, so a file is known by the
SHA-256 of its bytes, and its rows by that of its network, `ModelInfo.digest`.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from boatinfer.errors import OutputError, UsageError
from boatinfer.storage.base import Place
from boatinfer.storage.documents import DocumentError, decode_document, read_content
from boatinfer.storage.files import atomic_write, translate_write_errors
from boatinfer.storage.locations import is_remote
from boatinfer.storage.locks import hold_lock
from boatinfer.text import joined

__all__ = ["MODELS", "Event", "Registered", "Registry", "user_name"]

#: Name of the folder in a results folder.
MODELS = "models"

#: Characters of a digest that are shown, and that name a model at least.
_SHOWN, _LEAST = 12, 4
#: Seconds to wait for another command that writes the log.
_LOCK_SECONDS = 10.0

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Registered(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A model, as an event names it.

    Attributes:
        file: SHA-256 of the file, hex, which names the copy.
        network: SHA-256 by which rows know it, `ModelInfo.digest`.
        name: of its card.
        data: fingerprint of its training data, of its card; empty if it does not say.
    """

    file: Digest
    network: str
    name: str
    data: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.file[:_SHOWN]})"


class Event(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One line of the log.

    Attributes:
        when: time, ISO 8601, UTC.
        by: who did it.
        what: ``add`` a model; ``challenge``: from now on it runs in the shadow; ``promote``: from
            now on it is in service; ``rollback``: it is in service again.
        model: the model that it is done with.
        before: of ``promote`` and ``rollback`` the model that was in service; None if there was
            none.
        shadow: of ``challenge``, the share of the new images; 0 ends it.
        labels: of ``promote``, SHA-256 of labels.csv, hex; empty if there was none.
        figures: of ``promote``, what was measured; empty if nothing was.
        reason: why, in words.
        forced: whether it was done although something spoke against it.
    """

    when: str
    by: str
    what: Literal["add", "challenge", "promote", "rollback"]
    model: Registered
    before: Registered | None = None
    shadow: float | None = None
    labels: str = ""
    figures: dict[str, Any] = {}
    reason: str = ""
    forced: bool = False


class Registry:
    """The models of a results folder on a disk; one in a bucket has none.

    Args:
        out: the results folder.

    Attributes:
        folder: where its files are; it need not exist.
        events: the log as of when it was read.

    Raises:
        OutputError: the log cannot be read, or is damaged.
    """

    def __init__(self, out: Place) -> None:
        self.out, self.folder = out, out / MODELS
        self._log = self.folder / "log.jsonl"
        self.events: list[Event] = [] if is_remote(out) else _read_log(self._log)

    @property
    def models(self) -> list[Registered]:
        """All models that were added, by their first event."""
        return list({event.model.file: event.model for event in self.events}.values())

    @property
    def in_service(self) -> Registered | None:
        """The model that runs without ``-m`` take; None if none was promoted."""
        return service_of(self.events)

    @property
    def challenger(self) -> tuple[Registered, float] | None:
        """The model that runs in the shadow, and over which share of the new images."""
        found = None
        for event in self.events:
            if event.what == "challenge":
                found = (event.model, event.shadow) if event.shadow else None
            elif event.what == "promote" and found and found[0].file == event.model.file:
                found = None
        return found

    def file_of(self, model: Registered) -> Path:
        """The copy of a model."""
        return Path(str(self.folder)) / f"{model.file}.onnx"

    def find(self, name: str) -> Registered:
        """The model of a name, or of a digest or its beginning.

        Raises:
            UsageError: there is none, or more than one.
        """
        wanted = name.lower()
        found = [
            model
            for model in self.models
            if model.name == name or (len(wanted) >= _LEAST and model.file.startswith(wanted))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(
                f"{name} are several models of {self.out}; give the beginning of one's digest: "
                f"{joined([model.file[:_SHOWN] for model in found])}."
            )
        raise UsageError(
            f"{self.out} has no model {name}; add it with 'boatinfer models add {self.out} FILE', "
            f"or see 'boatinfer models list {self.out}'."
        )

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Makes the folder, locks it, and reads the log again.

        Raises:
            BusyError: another command holds it.
            OutputError: it cannot be written, or is in a bucket.
        """
        if is_remote(self.out):
            raise OutputError(
                f"{self.out} is in a bucket, where no models are kept; copy the folder to a disk, "
                "or give runs their model with -m."
            )
        with translate_write_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        with hold_lock(self.folder / ".lock", self.folder, _LOCK_SECONDS):
            self.events = _read_log(self._log)
            yield

    def keep(self, model: Registered, content: bytes) -> None:
        """Copies a model file, unless it is there and whole; within `writing`."""
        file = self.file_of(model)
        if not (file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == model.file):
            with atomic_write(file) as temporary:
                temporary.write_bytes(content)

    def append(self, what: str, model: Registered, by: str, **fields: Any) -> Event:
        """Adds a line to the log; within `writing`. The file is replaced whole, or not at all."""
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        document = {"when": when, "by": by, "what": what, "model": model, **fields}
        event = msgspec.convert(document, Event)
        lines = [msgspec.json.encode(one) + b"\n" for one in (*self.events, event)]
        with atomic_write(self._log) as temporary:
            temporary.write_bytes(b"".join(lines))
        self.events.append(event)
        return event

    def damage(self) -> Iterator[str]:
        """Reads all copies; yields a sentence for each that is damaged or missing."""
        for model in self.models:
            file = self.file_of(model)
            try:
                whole = hashlib.sha256(file.read_bytes()).hexdigest() == model.file
            except OSError:
                whole = False
            if not whole:
                yield (
                    f"the model {file} is damaged or missing; add it again with 'boatinfer models "
                    f"add {self.out} FILE'."
                )


def service_of(events: Sequence[Event]) -> Registered | None:
    """The model in service after some events."""
    changes = (event for event in reversed(events) if event.what in {"promote", "rollback"})
    return next((event.model for event in changes), None)


def user_name() -> str:
    """The name of the user; empty if there is none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _read_log(file: Place) -> list[Event]:
    try:
        lines = read_content(file).splitlines()
    except FileNotFoundError:
        return []
    except DocumentError as error:
        raise OutputError(f"{file} cannot be read: {error}; check it.") from error
    events = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(decode_document(line, Event))
        except DocumentError as error:
            raise OutputError(
                f"{file}, line {number:,} is damaged ({error}); put back an older copy of the "
                "file, or remove the line."
            ) from error
    return events

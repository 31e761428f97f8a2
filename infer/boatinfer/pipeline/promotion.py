"""Adds models to a results folder, lets them run in the shadow, promotes them, and goes back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.promotion import Trial, held_back, in_words
from boatinfer.errors import BoatinferError, BusyError, ModelError, UsageError
from boatinfer.models.card import Card
from boatinfer.models.device import Device
from boatinfer.models.model import Model, load, read_model
from boatinfer.pipeline.beside import Beside, classify_beside
from boatinfer.results.before import forget_tables, keep_tables, restore_tables
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.labels import LABELS, read_labels, read_sampled
from boatinfer.results.registry import Event, Registered, Registry
from boatinfer.results.store.rows import OK
from boatinfer.results.summary import Summary
from boatinfer.storage.base import Place
from boatinfer.storage.listing import ListedFile
from boatinfer.storage.locations import place
from boatinfer.text import from_text, joined

__all__ = ["Promotion", "add", "challenge", "promote", "roll_back"]


def add(out: Place, file: Place, by: str) -> Registered:
    """Copies a model file into a results folder; its seal is intact, and its self-test passes.

    Raises:
        ModelError: it is damaged, has no card, or fails its self-test.
        UsageError: there are no results.
        OutputError: the folder cannot be written, or is in a bucket.
    """
    registry = Registry(find_results(out).out)
    content = read_model(file)
    model = _described(load(content, file, Device.AUTO), content)
    with registry.writing():
        _register(registry, model, content, by)
    return model


def challenge(
    out: Place, name: str, share: float, by: str, *, force: bool = False, reason: str = ""
) -> Event:
    """Lets a model run in the shadow from the next run on; share 0 ends it.

    Raises:
        UsageError: there is no such model, or it has other classes or another input than the one
            in service, and it is not forced.
        ModelError: its file is damaged.
    """
    results = find_results(out)
    registry = Registry(results.out)
    model = registry.find(name)
    if share > 0:
        _require_reason(force, reason)
        complete = results.last_finished()
        other = _serving(registry, complete).card
        objections = unlike(_open(registry, model).card, other, complete)
        if objections and not force:
            raise UsageError(_refusal(model, objections, "run beside it"))
    with registry.writing():
        return registry.append("challenge", model, by, shadow=share, reason=reason, forced=force)


@dataclass(frozen=True)
class Promotion:
    """What came of `promote`.

    Attributes:
        event: what stands in the log.
        trial: both models on the held-back labels.
        objections: what spoke against it.
    """

    event: Event
    trial: Trial
    objections: list[str]


def promote(
    out: Place,
    name: str | None,
    by: str,
    *,
    share: float,
    max_loss: float,
    force: bool = False,
    reason: str = "",
    device: Device = Device.AUTO,
) -> Promotion:
    """Puts a model into service, if it is no worse than the one that is.

    Args:
        out: results folder.
        name: the model; None means the challenger.
        by: who does it.
        share: share of the labels that is held back from training.
        max_loss: share of the images of a class that may be lost.
        force: do it although something speaks against it; needs a reason.
        reason: goes to the log.
        device: runs the network.

    Raises:
        UsageError: it is worse, or cannot be compared, and it is not forced; or there is none.
        ModelError: its file is damaged, or fails its self-test.
        BusyError: a run is in progress.
    """
    _require_reason(force, reason)
    results = find_results(out)
    registry = Registry(results.out)
    model = _chosen(registry, name)
    _refuse_busy(results)
    complete = results.last_finished()
    if registry.in_service == model:
        raise UsageError(f"{model} is in service already.")
    card = _open(registry, model, device).card
    serving = registry.in_service
    before, other, content = _serving(registry, complete)
    objections = unlike(card, other, complete)
    trial = _try(results, registry.file_of(model), share, before, device)
    objections += trial.objections(max_loss)
    if objections and not force:
        raise UsageError(_refusal(model, objections, "go into service"))
    labels = results.out / LABELS
    figures = trial.document() | {"held_back": share, "max_loss": max_loss, "against": objections}
    with results.lock(complete.folder), registry.writing():
        if registry.in_service != serving:
            raise UsageError(f"{registry.in_service} was put into service meanwhile; try again.")
        if before is not None and content is not None:
            _register(registry, before, content, by)
        keep_tables(results, before)
        event = registry.append(
            "promote",
            model,
            by,
            before=before,
            labels=hashlib.sha256(labels.read_bytes()).hexdigest() if labels.exists() else "",
            figures=figures,
            reason=reason,
            forced=bool(objections),
        )
    return Promotion(event, trial, objections)


def roll_back(out: Place, by: str, reason: str = "") -> tuple[Event, bool]:
    """Puts the model into service again that was before the last promotion.

    Nothing is classified: the tables are put back as they were, and the next run finds the rows.

    Returns:
        What stands in the log, and whether the tables were put back.

    Raises:
        UsageError: there is none before, or its file is not kept.
        ModelError: its file is damaged.
        BusyError: a run is in progress.
    """
    results = find_results(out)
    registry = Registry(results.out)
    _refuse_busy(results)
    with results.lock(results.last_finished().folder), registry.writing():
        stack = _served(registry.events)
        if len(stack) < 2:
            raise UsageError(
                f"{results.out} has no model that was in service before; see 'boatinfer models log "
                f"{results.out}'."
            )
        now, model = stack[-1], stack[-2]
        if not registry.file_of(model).exists():
            raise UsageError(
                f"the file of {model}, which was in service before, is not in {registry.folder}; "
                f"add it with 'boatinfer models add {results.out} FILE'."
            )
        _read(registry, model)
        restored = restore_tables(results, model)
        event = registry.append("rollback", model, by, before=now, reason=reason)
        forget_tables(results)
    return event, restored


def unlike(card: Card, other: Card | None, complete: Summary) -> list[str]:
    """In what a model differs from the one in service, so that its answers are not the same kind.

    Args:
        card: of the model.
        other: of the one in service; None if its file is gone.
        complete: the last complete run, which knows the classes.
    """
    classes = other.classes if other else complete.classes
    missing = [name for name in classes if name not in card.classes]
    found = []
    if missing:
        found.append(f"it lacks {joined(missing)}, which the model in service knows")
    if other is not None and card.image != other.image:
        mine, theirs = (f"{of.height} x {of.width} ({of.fit})" for of in (card.image, other.image))
        what = (
            f"images of {mine}, not {theirs}"
            if mine != theirs
            else "they are resized or turned in another way"
        )
        found.append(f"its input is another: {what}")
    return found


def _served(events: list[Event]) -> list[Registered]:
    """The models in service one after the other, without those that were rolled back."""
    stack: list[Registered] = []
    for event in events:
        if event.what == "promote":
            stack += [event.before] if event.before and not stack else []
            stack.append(event.model)
        elif event.what == "rollback" and stack:
            stack.pop()
    return stack


def _chosen(registry: Registry, name: str | None) -> Registered:
    if name is not None:
        return registry.find(name)
    if registry.challenger is None:
        raise UsageError(f"{registry.out} has no challenger; name the model to promote.")
    return registry.challenger[0]


def _refuse_busy(results: Results) -> None:
    """Refuses at once what could not be written in the end."""
    holder = results.lock_holder()
    if holder is not None:
        raise BusyError(
            f"{results.out} is held by {holder}; wait until that run has ended, and try again."
        )


def _require_reason(force: bool, reason: str) -> None:
    if force and not reason.strip():
        raise UsageError("--force needs a --reason, which goes to the log.")


def _refusal(model: Registered, objections: list[str], what: str) -> str:
    return (
        f"{model} may not {what}: {in_words(objections)}; take another model, or use --force with "
        "a --reason."
    )


def _described(model: Model, content: bytes) -> Registered:
    training = model.card.training
    return Registered(
        file=hashlib.sha256(content).hexdigest(),
        network=model.digest,
        name=model.card.name,
        data=training.data if training else "",
    )


def _register(registry: Registry, model: Registered, content: bytes, by: str) -> None:
    known = model in registry.models
    registry.keep(model, content)
    if not known:
        registry.append("add", model, by)


def _read(registry: Registry, model: Registered) -> bytes:
    """The content of a copy, which is as it was added."""
    file = registry.file_of(model)
    content = read_model(file)
    if hashlib.sha256(content).hexdigest() != model.file:
        raise ModelError(
            f"{file} has been changed or damaged since it was added; add {model.name} again with "
            f"'boatinfer models add {registry.out} FILE'."
        )
    return content


def _open(registry: Registry, model: Registered, device: Device = Device.AUTO) -> Model:
    """Opens a copy, whose seal is intact and whose self-test passes."""
    return load(_read(registry, model), registry.file_of(model), device)


class _Serving(NamedTuple):
    """The model in service; before the first promotion that of the last run.

    Attributes:
        model: None if it is not known, as where its file is gone.
        card: likewise.
        content: of its file, where that is not kept yet.
    """

    model: Registered | None = None
    card: Card | None = None
    content: bytes | None = None


def _serving(registry: Registry, complete: Summary) -> _Serving:
    if registry.in_service is not None:
        return _Serving(registry.in_service, _open(registry, registry.in_service).card)
    try:
        file = place(from_text(complete.model_file))
        content = read_model(file)
        opened = load(content, file)
    except (BoatinferError, OSError):
        return _Serving()
    if opened.digest != complete.model:  # it was written anew since
        return _Serving()
    return _Serving(_described(opened, content), opened.card, content)


def _try(
    results: Results, file: Path, share: float, before: Registered | None, device: Device
) -> Trial:
    """Both models on the held-back labels: the one in service by its rows, the other anew."""
    complete = results.last_finished()
    labels, folder = Path(str(results.out)) / LABELS, place(from_text(complete.folder))
    if before is not None and before.network != complete.model:
        raise UsageError(
            f"the last run into {results.out} was not by {before}, which is in service; run again "
            "first."
        )
    answers = read_labels(labels).answers
    current = _current_labels(results, answers)
    paths = {content: folder / from_text(current[content][0].path) for content in current}
    files = {
        content: current[content]
        for content in held_back(answers, paths, read_sampled(labels), share)
    }
    said: dict[str, str] = {}
    if files:
        how = Beside(file, folder, device)
        for info, rows in classify_beside(how, [listed for listed, _ in files.values()]):
            said |= {
                row.content: info.card.classes[int(row.probabilities.argmax())]
                for row in rows
                if row.status == OK and row.content is not None and row.probabilities is not None
            }
    both = [content for content in files if content in said]
    return Trial(
        [answers[content].label for content in both],
        [files[content][1] for content in both],
        [said[content] for content in both],
    )


def _current_labels(results: Results, contents: Iterable[str]) -> dict[str, tuple[ListedFile, str]]:
    """Of each of some contents an image of the last run, and what the network said of it."""
    wanted = pa.array(contents, pa.string())
    columns = ["path", "bytes", "mtime_ns", "content", "label"]
    found: dict[str, tuple[ListedFile, str]] = {}
    for part in results.parts.read(results.current(), columns):
        for row in part.filter(pc.is_in(part["content"], wanted)).to_pylist():
            file = ListedFile(row["path"], row["bytes"], row["mtime_ns"])
            found.setdefault(row["content"], (file, row["label"]))
    return found

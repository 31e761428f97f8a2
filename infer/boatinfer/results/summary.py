"""What ``run.json`` holds: one run in figures."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import xxhash
from msgspec import Meta

from boatinfer.errors import OutputError
from boatinfer.models.card import Card
from boatinfer.results.gone import Gone
from boatinfer.results.mix import Mix
from boatinfer.results.model_change import ModelChange
from boatinfer.storage.base import Place
from boatinfer.storage.documents import DocumentError, decode_document, read_content

__all__ = ["Summary", "Trained", "Unusual", "parsed", "read_summary", "run_time"]

Count = Annotated[int, Meta(ge=0, le=2**62)]
#: An empty digest, which stands there while the digest is made, and a full one.
_BLANK, _FULL = b'"digest": ""', re.compile(rb'"digest": "([0-9a-f]{32})"')


class Trained(msgspec.Struct, frozen=True):
    """What a model's card says of its training.

    Attributes:
        labels: images of each class in train; empty where it does not say.
        accuracy: share of the images of valid that were right; null likewise.
    """

    labels: dict[str, int] = {}
    accuracy: float | None = None

    @classmethod
    def of(cls, card: Card) -> Trained | None:
        """Takes it from a card; None where that has nothing."""
        said = card.training
        return None if said is None else cls(said.labels, said.metrics.get("accuracy"))


class Unusual(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something unusual about a run.

    Attributes:
        kind: ``folder_gone``: a folder has no image any more. ``folder_silent``: hardly any new
            image, where the last runs had many. ``classes``, ``confidence``,
            ``features``: those of the new images are not as in earlier runs.
        text: a sentence.
        folder: the folder that it is about, if not the whole.
        value: how far the new images are from those of earlier runs; ordinary runs are at 1 on
            average (`boatinfer.analysis.yardstick`).
        limit: from which value on it is unusual.
        images: number of new images.
        runs: number of earlier runs that they were compared with.
        now: what changed most: the shares of classes by name, the ``mean`` confidence, or the
            ``distance`` of the features from the usual ones.
        usual: the same as it was in these runs, on average; of a silent folder its ``images``, and
            the ``least`` of them.
        since: since when a folder has been empty, if it was so before this run; ISO 8601.
    """

    kind: str
    text: str
    folder: str | None = None
    value: float | None = None
    limit: float | None = None
    images: int | None = None
    runs: int | None = None
    now: dict[str, float] = {}
    usual: dict[str, float] = {}
    since: str | None = None


class Summary(msgspec.Struct, kw_only=True, frozen=True):
    """What ``run.json`` holds: one run in figures.

    ``finished``, ``seconds`` and ``exit_code`` are null while the run goes on, and stay so
    if it is killed. ``complete`` says that ``found = classified + reused + failed`` was
    proved from the parts on disk. ``images_per_second`` counts the images that were read,
    over the time from the first image to the last part. ``classes`` are the model's, in the
    order of the probabilities, ``training`` is what it says of its training, and ``model_file``
    where it was. ``unsure``
    images are less confident than ``min_confidence``; they are among the classified and reused,
    and among the ``labels``, like the ``unknown``, which are more novel than ``max_novelty``;
    of ``warnings`` likewise the decoder warned, and they are sound.
    ``unlisted`` of the ``failed`` are folders that could not be listed.
    ``other_files`` are those that are no images, counted by ending, and ``system_folders`` those
    that were not entered, counted by name.
    ``new`` is of the images that are new, changed, or classified by another model than before, in
    this run or in one before it that did not come to its end; an unchanged image that has failed
    before is not new. ``gone`` is of the images of the last complete run that are gone; null if
    this run did not look at the whole folder. ``model_change`` is null if the last complete run
    had the same model. ``unusual`` lists what a person should look at.
    ``stages`` are seconds of work, summed over ``threads``. ``restrictions`` are
    the options that kept the run from looking at the whole folder, ``remarks`` sentences on what
    else a person should know, and ``tables`` the xxh3-128 of each table by its name. ``error``
    says why ``exit_code`` is not 0. ``shards`` are the runs that did the work, if it was done in
    shards. ``title``, ``language``, ``link_prefix`` and ``gallery`` are options for the page.
    ``digest`` is in the file alone: the xxh3-128 of the file with an empty digest, hex.
    """

    run: str
    folder: str
    started: str
    finished: str | None = None
    seconds: float | None = None
    found: Count = 0
    classified: Count = 0
    reused: Count = 0
    failed: Count = 0
    failures: dict[str, int] = {}
    warnings: Count = 0
    unlisted: Count = 0
    other_files: dict[str, int] = {}
    system_folders: dict[str, int] = {}
    unsure: Count = 0
    unknown: Count = 0
    max_novelty: float | None = None
    min_confidence: float | None = None
    target_accuracy: float | None = None
    labels: dict[str, int] = {}
    svm_labels: dict[str, int] = {}
    images_per_second: float | None = None
    model: str = ""
    model_name: str = ""
    model_file: str = ""
    classes: list[str] = []
    training: Trained | None = None
    device: str = ""
    versions: dict[str, str] = {}
    new: Mix | None = None
    gone: Gone | None = None
    model_change: ModelChange | None = None
    unusual: list[Unusual] = []
    threads: int | None = None
    stages: dict[str, float] = {}
    restrictions: list[str] = []
    remarks: list[str] = []
    tables: dict[str, str] = {}
    complete: bool = False
    exit_code: int | None = None
    error: str | None = None
    shards: list[str] = []
    title: str | None = None
    language: str = "en"
    link_prefix: str | None = None
    gallery: bool = False
    digest: str = ""

    def text(self) -> str:
        """The summary as JSON, for files and programs, with its digest."""
        blank = msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
        head, _, tail = blank.rpartition(_BLANK)
        digest = xxhash.xxh3_128_hexdigest(blank)
        return f'{head.decode()}"digest": "{digest}"{tail.decode()}'


def run_time(run: str) -> str:
    """The time at which a run with this id started, in ISO 8601; other text as it is."""
    try:
        started = datetime.strptime(run.partition("-")[0], "%Y%m%dT%H%M%S.%f%z")
    except ValueError:
        return run
    return started.astimezone(UTC).isoformat(timespec="seconds")


def parsed(content: bytes) -> Summary:
    """Reads what `Summary.text` has written; older files have no digest.

    Raises:
        DocumentError: it is damaged.
    """
    summary = decode_document(content, Summary)
    if summary.digest:
        blank = _FULL.sub(_BLANK, content)
        if xxhash.xxh3_128_hexdigest(blank) != summary.digest:
            raise DocumentError("it is not as it was written")
    summary = msgspec.structs.replace(summary, digest="")
    try:
        for moment in filter(None, (summary.started, summary.finished)):
            datetime.fromisoformat(moment)
    except ValueError as error:
        raise DocumentError(str(error)) from error
    return summary


def read_summary(file: Place) -> Summary | None:
    """Reads a summary; None where there is none.

    Raises:
        OutputError: it is damaged.
    """
    try:
        return parsed(read_content(file))
    except FileNotFoundError:
        return None
    except DocumentError as error:
        raise OutputError(f"{file} is damaged ({error}); delete it and run again.") from error

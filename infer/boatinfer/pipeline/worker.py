"""What the worker process of a run does: it opens the model and makes rows of files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from boatinfer import images
from boatinfer.errors import Failure
from boatinfer.images.admission import Limits
from boatinfer.isolation.worker import Batch, Done
from boatinfer.memory import limit_process_memory
from boatinfer.models.built_in import BUILT_IN
from boatinfer.models.device import Device
from boatinfer.models.model import Model, load, read_model
from boatinfer.pipeline.classifier import Classifier
from boatinfer.pipeline.engines.stages import classified
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.timings import Stages
from boatinfer.results.store.rows import Row
from boatinfer.storage.base import Place
from boatinfer.storage.connections import s3_endpoint
from boatinfer.storage.listing import ListedFile

if TYPE_CHECKING:
    from boatinfer.results.store.duplicates import ContentIndex

__all__ = ["Classification", "Classifying", "Work", "lost", "lost_in_run"]


def lost(found: ListedFile, reason: Failure, message: str) -> Row:
    """The row of an image that ended the worker process."""
    return Row(*found, status=reason.value, error=message)


def lost_in_run(found: ListedFile, reason: Failure, message: str) -> Row:
    """As `lost`, in a run, where the time limit is an option."""
    option = " (--image-timeout)" if reason is Failure.TIMED_OUT else ""
    return lost(found, reason, message + option)


class Work(NamedTuple):
    """What is known when the first images are.

    Attributes:
        folder: the folder that the paths are relative to.
        threads: how many read, and on the CPU infer.
        features: whether rows keep their feature vectors.
        lenient: whether a damaged JPEG is classified by what can be decoded of it.
        contents: rows of images that are known already, to be found by their content.
        memory: bytes that the process may use.
    """

    folder: Place
    threads: int
    features: bool
    lenient: bool
    contents: ContentIndex | None
    memory: int | None = None


@dataclass(frozen=True)
class Classification:
    """The task of a run's worker process.

    Attributes:
        model: the model file.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch_size: images in a batch; None chooses by the image size.
        endpoint: the S3 server of ``s3://`` URIs, if it is not Amazon's.
        content: of the model file, where the process cannot read it.
        memory: bytes that the process may use. The process must not ask the system for it, which
            would tell of the limit that it sets itself.
    """

    model: Place
    device: Device
    batch_size: int | None
    endpoint: str | None
    memory: int
    content: bytes | None = None

    @classmethod
    def of(cls, options: RunOptions) -> Classification:
        """The task of a run on this machine."""
        model = BUILT_IN if options.model is None else options.model
        return cls(
            model,
            Device(options.device),
            options.batch_size,
            options.endpoint,
            memory=Limits(options.memory).memory,
        )

    def open(self) -> Classifying:
        """Opens the model, whose self-test passes.

        Raises:
            ModelError: as `boatinfer.models.model.open_model`.
            DeviceError: likewise.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(s3_endpoint(self.endpoint))
            content = read_model(self.model) if self.content is None else self.content
            model = load(content, self.model, self.device, 1, self.batch_size)
            if model.device is not Device.CUDA:
                limit_process_memory(self.memory)
            return Classifying(model, close=stack.pop_all().close)


class Classifying:
    """An open model that makes rows of files.

    Args:
        model: the model.
        stages: counts the seconds of each stage of work.
        close: called when no more is wanted.

    Attributes:
        info: of the model, for the supervisor.
    """

    def __init__(
        self,
        model: Model,
        stages: Stages | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._model, self.info, self._stages = model, model.info, stages or Stages()
        self.close = close

    @contextlib.contextmanager
    def work(self, settings: Work, batches: Iterator[Batch]) -> Iterator[Iterator[Done]]:
        """Makes rows of files."""
        classifier = Classifier(
            self._model,
            settings.folder,
            self._model.batch_size,
            features=settings.features,
            lenient=settings.lenient,
            contents=settings.contents,
            stages=self._stages,
        )
        with (
            images.temporary_limits(settings.memory, settings.threads),
            classified(classifier, batches, settings.threads) as done,
        ):
            yield done

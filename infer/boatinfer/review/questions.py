"""Questions: an image, or near-identical ones that one key labels together."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from boatinfer.errors import ImageError
from boatinfer.review.candidates import Candidates
from boatinfer.review.pictures import LARGE, SMALL, Picture, Pictures

__all__ = ["Question", "Questions"]

#: Images of a question, at most, and questions that are made at a time.
_TOGETHER, _BATCH = 12, 4
#: Bytes of pictures that are kept.
_CACHED = 64 * 2**20


@dataclass
class Question:
    """Something to ask.

    Attributes:
        row: row of the image that is shown large, which names the question.
        reason: why it is asked.
        pictures: the picture of each of its images by row; the large one first.
        broken: why the image cannot be shown; such a question has no answer.
    """

    row: int
    reason: str
    pictures: dict[int, Picture] = field(default_factory=dict)
    broken: str = ""

    @property
    def contents(self) -> dict[int, str]:
        """The content of each of its images by row."""
        return {row: picture.content for row, picture in self.pictures.items()}


class Questions:
    """Makes the questions of one session.

    Args:
        candidates: all images.
        pictures: makes their pictures.
        is_open: whether an image of a content is still to be asked for, given the reason.
    """

    def __init__(
        self, candidates: Candidates, pictures: Pictures, is_open: Callable[[str, str], bool]
    ) -> None:
        self._candidates, self._pictures, self._is_open = candidates, pictures, is_open
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._jpegs: collections.OrderedDict[tuple[int, bool], bytes] = collections.OrderedDict()

    def make(self, reason: str, rows: Sequence[int]) -> Iterator[Question]:
        """Makes the questions of a section, few at a time, as they are asked for.

        Args:
            reason: why they are asked.
            rows: rows of the images, the most important first.
        """
        waiting = collections.deque(rows)
        size = 1  # the first is there sooner
        while waiting:
            batch: list[int] = []
            while waiting and len(batch) < size:
                row = int(waiting.popleft())
                if row not in self._taken and self._candidates.may_show(row):
                    batch.append(row)
            yield from self._asked(reason, batch)
            size = _BATCH

    def jpeg(self, row: int, large: bool) -> bytes:
        """The picture of an image.

        Raises:
            ImageError: it cannot be read.
        """
        with self._lock:
            kept = self._jpegs.get((row, large))
        if kept is not None:
            return kept
        (made,) = self._pictures.make([self._candidates.path(row)], LARGE if large else SMALL)
        if isinstance(made, ImageError):
            raise made
        self._keep(row, large, made.jpeg)
        return made.jpeg

    def _keep(self, row: int, large: bool, jpeg: bytes) -> None:
        with self._lock:
            self._jpegs[row, large] = jpeg
            while len(self._jpegs) > 1 and sum(map(len, self._jpegs.values())) > _CACHED:
                self._jpegs.popitem(last=False)

    def _asked(self, reason: str, rows: Sequence[int]) -> Iterator[Question]:
        questions = []
        for row, made in zip(rows, self._made(rows, large=True), strict=True):
            if row in self._taken:  # with another one
                continue
            if isinstance(made, ImageError):
                questions.append(Question(row, reason, broken=str(made)))
            elif self._is_open(made.content, reason):
                questions.append(Question(row, reason, {row: made}))
        if reason not in {"random", "rest"}:  # a sample is of single images
            self._gather(questions)
        asked: set[int] = set()
        for question in questions:
            if question.row not in asked:
                for row in asked & question.pictures.keys():
                    del question.pictures[row]
                asked.update(question.pictures)
                self._taken.update(question.pictures, [question.row])
                yield question

    def _made(self, rows: Sequence[int], large: bool) -> list[Picture | ImageError]:
        paths = [self._candidates.path(row) for row in rows]
        made = self._pictures.make(paths, LARGE if large else SMALL)
        for row, picture in zip(rows, made, strict=True):
            if isinstance(picture, Picture):
                self._keep(row, large, picture.jpeg)
        return made

    def _gather(self, questions: Sequence[Question]) -> None:
        """Adds the frames before and after each image, while they look like it."""
        ends = [(question, step, question.row) for question in questions for step in (-1, 1)]
        ends = [end for end in ends if not end[0].broken]
        while ends:
            ends = [(question, step, row + step) for question, step, row in ends]
            ends = [end for end in ends if self._may_join(*end)]
            made = self._made([row for *_, row in ends], large=False)
            going = []
            for (question, step, row), picture in zip(ends, made, strict=True):
                first = question.pictures[question.row]
                if isinstance(picture, ImageError) or not first.look.is_like(picture.look):
                    continue
                if len(question.pictures) < _TOGETHER and self._is_open(
                    picture.content, question.reason
                ):
                    question.pictures[row] = picture
                    going.append((question, step, row))
            ends = going

    def _may_join(self, question: Question, step: int, row: int) -> bool:
        candidates = self._candidates
        if not 0 <= row < len(candidates) or row in self._taken or row in question.pictures:
            return False
        same_folder = _folder(candidates.path(row)) == _folder(candidates.path(row - step))
        alike = candidates.label(row) == candidates.label(question.row)
        return same_folder and alike and candidates.may_show(row)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]

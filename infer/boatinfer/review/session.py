"""A review session: what is asked, what was answered, and what others answer meanwhile."""

from __future__ import annotations

import collections
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.sampling import RANDOM, Estimate, estimate
from boatinfer.dataset.held_back import SAMPLE, in_sample
from boatinfer.errors import BoatinferError, UsageError
from boatinfer.results.folder import Results
from boatinfer.results.labels import SPECIAL, Answer, LabelFile, is_class
from boatinfer.results.tables.predictions import UNKNOWN, UNSURE, network_labels
from boatinfer.review.candidates import Candidates
from boatinfer.review.contents import Contents, read_contents
from boatinfer.review.nearest import Training
from boatinfer.review.order import REASONS, Section
from boatinfer.review.pictures import Pictures
from boatinfer.review.questions import Question, Questions

__all__ = ["Session"]

#: Characters of a class, at most, and answers that can be taken back.
_CLASS, _UNDO = 100, 1000
#: Seconds after which a session begins without a question.
_FIRST_SECONDS = 3.0
#: Requests whose repetition is noticed.
_REMEMBERED = 10_000


class Told(NamedTuple):
    """What the page is told of an answer, or of one that was taken back.

    Attributes:
        kept: number of its images whose answer is somebody else's, and stays.
        open: its questions that have images without an answer.
    """

    kept: int
    open: list[dict[str, Any]]


class Session:
    """One person's review of a results folder; used by the threads of the server.

    Args:
        results: the results folder.
        candidates: its images.
        labels: its labels.csv.
        sections: what is asked, in order.
        pictures: makes the pictures.
        who: who answers.
        training: finds the nearest training images; None for none.

    Attributes:
        problems: sentences on labels.csv and on the images.
    """

    def __init__(
        self,
        results: Results,
        candidates: Candidates,
        labels: LabelFile,
        sections: Sequence[Section],
        pictures: Pictures,
        *,
        who: str,
        training: Training | None = None,
    ) -> None:
        self.candidates, self.training, self._who = candidates, training, who
        self._results, self._labels = results, labels
        self.questions = Questions(candidates, pictures, self._is_open)
        self._sections = {section.reason: section for section in sections}
        self._made: dict[str, list[Question]] = collections.defaultdict(list)
        self._makers: dict[str, Iterator[Question]] = {}
        self._by_row: dict[int, Question] = {}
        self._undo: collections.deque[tuple[dict[str, Answer], list[Question]]]
        self._undo = collections.deque(maxlen=_UNDO)
        self._done: collections.OrderedDict[str, Told] = collections.OrderedDict()
        self._changes: list[dict[str, Any]] = []
        self._classes: dict[str, None] = dict.fromkeys(candidates.summary.classes)
        self._told: dict[int, str] = {}
        self._asking, self._answering = threading.Lock(), threading.RLock()
        self._contents: Contents | None = None
        self._predicted = network_labels(candidates.table)
        self._known, self._begun = threading.Event(), threading.Event()
        self.problems: list[str] = list(labels.problems)
        self.saved = 0
        self._set_apart_labelled()

    def _set_apart_labelled(self) -> None:
        """Leaves out paths that have a label; those whose content has changed come back later."""
        if not self._labels.answers:
            return
        mask = self._labelled_paths()
        for reason, section in self._sections.items():
            self._sections[reason] = Section(reason, section.rows[~mask[section.rows]])

    def learn_contents(self) -> None:
        """Reads the contents of all images: then there is a random sample, and an estimate."""
        self._begun.wait(_FIRST_SECONDS)  # the first image comes first
        try:
            contents = read_contents(self._results, self.candidates)
        except BoatinferError as error:
            self.problems.append(f"There is no random sample: {error}")
        else:
            answers = self._labels.answers
            labelled = contents.rows(answers.keys())
            if answers and not len(labelled) and not self.candidates.only_new:
                self.problems.append(
                    f"None of the {len(answers):,} labels in {self._labels.path} is of an image of "
                    "this folder; is the file from another one?"
                )
            open_rows = np.ones(len(self.candidates), np.bool_)
            open_rows[labelled] = False
            order = np.argsort(contents.places, kind="stable")
            order = order[open_rows[order]]
            sampled = contents.places[order] < SAMPLE
            self._sections["changed"] = Section(
                "changed", np.flatnonzero(self._labelled_paths() & open_rows)
            )
            self._sections["random"] = Section("random", order[sampled])
            self._sections["rest"] = Section("rest", order[~sampled])
            self._contents = contents
        finally:
            self._known.set()

    def _labelled_paths(self) -> npt.NDArray[np.bool_]:
        """Which paths have a label, of whatever content, bool [N]."""
        paths = {answer.path for answer in self._labels.answers.values()}
        named = pc.is_in(self.candidates.paths, value_set=pa.array(sorted(paths), pa.string()))
        return np.asarray(named.to_numpy())

    def section_list(self) -> list[dict[str, Any]]:
        """The sections in their order, with their names and numbers of images."""
        known = self._sections
        return [
            {"reason": reason, "title": title, "images": len(known[reason].rows)}
            if reason in known
            else {"reason": reason, "title": title, "images": None}
            for reason, title in REASONS.items()
            if reason in known or (reason in RANDOM and not self._known.is_set())
        ]

    def ask(self, reason: str, after: int, count: int) -> tuple[list[dict[str, Any]], int | None]:
        """The next questions of a section that nobody has answered.

        Args:
            reason: the section.
            after: where to go on in it: 0, or what the last call returned.
            count: number of questions, at most.

        Returns:
            The questions, and where to go on; None at the end.

        Raises:
            UsageError: ``after`` is not what a call returned.
        """
        if reason in {"changed", *RANDOM}:
            self._begun.set()
            self._known.wait()
        found: list[dict[str, Any]] = []
        with self._asking:
            made = self._made[reason]
            if after > len(made):
                raise UsageError("there is no such question; load the page again.")
            while len(found) < count:
                if after == len(made):
                    question = next(self._maker(reason), None)
                    if question is None:
                        return found, None
                    made.append(question)
                    self._by_row.update(dict.fromkeys(question.pictures, question))
                question = made[after]
                after += 1
                if images := self._open(question):
                    found.append(self._document(question, images))
        self._begun.set()
        return found, after

    def _maker(self, reason: str) -> Iterator[Question]:
        if reason not in self._makers:
            section = self._sections.get(reason)
            rows = section.rows.tolist() if section else []
            self._makers[reason] = self.questions.make(reason, rows)
        return self._makers[reason]

    def _is_open(self, content: str, reason: str) -> bool:
        """Whether an image is to be asked for; the random sample is asked for by itself."""
        if content in self._labels.answers:
            return False
        if reason in RANDOM:
            return True
        return not in_sample(content)

    def _open(self, question: Question) -> dict[int, str]:
        """The contents of the images of a question that nobody has answered, by row."""
        known = self._labels.answers
        return {row: content for row, content in question.contents.items() if content not in known}

    def _document(self, question: Question, images: Collection[int]) -> dict[str, Any]:
        """A question about those of its images that are open, of which the first is shown large."""
        candidates, row = self.candidates, next(iter(images))
        picture = question.pictures[row]
        time = datetime.fromtimestamp(picture.time).astimezone()
        return {
            "row": row,
            "reason": REASONS[question.reason],
            "path": candidates.path(row),
            "time": time.isoformat(timespec="seconds"),
            "width": picture.size[0],
            "height": picture.size[1],
            "guesses": candidates.guesses(row),
            "images": [{"row": one, "path": candidates.path(one)} for one in images],
            "nearest": self.training.nearest(candidates.path(row)) if self.training else [],
        }

    def answer(self, request: str, rows: Collection[int], label: str) -> Told:
        """Records an answer; the same request twice is recorded once.

        Args:
            request: a name of the request.
            rows: the images that it is of; those that somebody has answered meanwhile keep theirs.
            label: a class, or one of `SPECIAL`.

        Raises:
            UsageError: there is no such image, or no such class can be given.
            OutputError: it could not be saved.
        """
        label = self._class(label.strip())
        with self._answering, self._labels.locked():
            if request in self._done:
                return self._done[request]
            self._labels.refresh()
            asked = self._asked(rows)
            contents = {
                row: content
                for question in asked
                for row, content in self._open(question).items()
                if row in rows
            }
            now = datetime.now(UTC).isoformat(timespec="seconds")
            answers = {
                content: Answer(
                    path=self.candidates.path(row),
                    content=content,
                    label=label,
                    by=self._who,
                    when=now,
                    shown_label=self.candidates.label(row),
                    model=self.candidates.summary.model,
                    reason=self._by_row[row].reason,
                )
                for row, content in contents.items()
            }
            if answers:
                self._labels.append(list(answers.values()))
                self._undo.append((answers, asked))
            self.saved += len(answers)
            told = Told(len(set(rows)) - len(contents), self._still_open(asked))
            self._done[request] = told
            while len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
            return told

    def _class(self, label: str) -> str:
        """An answer that can be given."""
        if label in {*SPECIAL, *self.candidates.summary.classes}:
            return label
        if (
            not (label and label.isprintable() and len(label) <= _CLASS)
            or "/" in label
            or label.startswith((".", "("))
            or not is_class(label)
        ):
            raise UsageError(
                f"a class must have 1 to {_CLASS} printable characters without /, must not begin "
                f"with a dot or a parenthesis, and must not be {UNSURE}, {UNKNOWN} or one of the "
                "other answers; type another name."
            )
        known = self.classes()
        alike = [name for name in known if name.casefold() == label.casefold()]
        if alike and label not in alike:
            raise UsageError(f"there is the class {alike[0]} already; press its button instead.")
        return label

    def _asked(self, rows: Collection[int]) -> list[Question]:
        """The questions of images."""
        if not rows or not self._by_row.keys() >= set(rows):
            raise UsageError("there is no such question; load the page again.")
        return list({self._by_row[row].row: self._by_row[row] for row in rows}.values())

    def _still_open(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """What is to be asked again of questions."""
        images = [(question, self._open(question)) for question in questions]
        return [self._document(question, rows) for question, rows in images if rows]

    def undo(self) -> Told:
        """Takes the last answer back, where nobody else has given another one since.

        Raises:
            UsageError: there is none.
            OutputError: it could not be saved.
        """
        with self._answering, self._labels.locked():
            if not self._undo:
                raise UsageError("there is no answer of this session left to undo.")
            self._labels.refresh()
            (last, asked), known = self._undo[-1], self._labels.answers
            own = [answer for content, answer in last.items() if known.get(content) == answer]
            now = datetime.now(UTC).isoformat(timespec="seconds")
            if own:
                self._labels.append([replace(answer, label="", when=now) for answer in own])
            self._undo.pop()
            self.saved -= len(own)
            return Told(len(last) - len(own), self._still_open(asked))

    def changes(self, since: int) -> tuple[list[dict[str, Any]], int]:
        """What was answered by anybody since a call: label and person of images.

        Raises:
            OutputError: labels.csv cannot be read any more.
        """
        with self._answering:
            self._labels.refresh()
            answers = self._labels.answers
            for row, question in list(self._by_row.items()):
                answer = answers.get(question.contents[row])
                said = answer.label if answer else ""
                if self._told.get(row, "") != said:
                    self._told[row] = said
                    by = answer.by if answer else ""
                    self._changes.append({"row": row, "label": said, "by": by})
            return self._changes[since:], len(self._changes)

    def estimate(self) -> Estimate | None:
        """The accuracy on all candidates; None until their contents are known."""
        contents = self._contents
        if contents is None:
            return None
        with self._answering:
            answers = dict(self._labels.answers)
        return estimate(contents.hashes, contents.places, self._predicted, answers)

    def classes(self) -> list[str]:
        """The model's classes, then those that people have typed; none goes or moves again."""
        for answer in list(self._labels.answers.values()):
            if answer.label not in SPECIAL:
                self._classes[answer.label] = None
        return list(self._classes)

    @property
    def answered(self) -> int:
        """Number of images that have a label, by anybody."""
        return len(self._labels.answers)

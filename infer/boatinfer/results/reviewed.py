"""What people have said of the images of a run: the column ``reviewed`` of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.errors import OutputError
from boatinfer.results.folder import Results
from boatinfer.results.labels import LABELS, Answer, read_labels

__all__ = ["Reviewed", "read_reviewed"]


class Reviewed:
    """The labels of contents.

    Args:
        answers: `boatinfer.results.labels.Reading.answers`.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._contents = pa.array(list(answers), pa.string())
        labels = [answer.label for answer in answers.values()]
        self._labels = pa.array(labels, pa.string()).dictionary_encode()

    def of(self, contents: pa.ChunkedArray) -> pa.ChunkedArray:
        """The label that people gave to each content, string [N]; null where nobody has."""
        return self._labels.take(pc.index_in(contents, value_set=self._contents))


class _Read(NamedTuple):
    """What is read of labels.csv: None where there is no such file, and remarks on it."""

    reviewed: Reviewed | None
    remarks: list[str]


def read_reviewed(results: Results) -> _Read:
    """Reads the labels of a results folder; a file that cannot be used is a remark, no error."""
    file = results.out / LABELS
    if not file.exists():
        return _Read(None, [])
    try:
        reading = read_labels(file)
    except OutputError as error:
        sentence = str(error)
        return _Read(Reviewed({}), [f"{sentence[:1].upper()}{sentence[1:]}"])
    return _Read(Reviewed(reading.answers), reading.problems)

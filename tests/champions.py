"""A results folder with labels, and two models for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import colours
from boatinfer.results.folder import Results
from boatinfer.results.labels import Answer, LabelFile
from boatinfer.results.registry import Registry
from boatinfer.results.summary import Summary
from support import Command, Outcome, rows

__all__ = ["Scene", "fails"]


@dataclass
class Scene:
    """What the tests of models work with.

    Attributes:
        boatinfer: a command.
        night: a run over the pictures.
        out: its results folder.
        pictures: eight of each colour.
        good: a model file; the model is called colours.
        worse: one that takes green for blue, and blue for green.
    """

    boatinfer: Command
    night: Callable[..., Summary]
    out: Path
    pictures: Path
    good: Path
    worse: Path

    def models(self, command: str, *arguments: Any) -> Outcome:
        """Calls ``boatinfer models COMMAND OUT ...``."""
        return self.boatinfer("models", command, self.out, *arguments)

    @property
    def registry(self) -> Registry:
        """What the folder says of its models now."""
        return Registry(self.out)

    def labels(self) -> dict[str, str]:
        """What predictions.csv says."""
        return {row["path"]: row["label"] for row in rows(self.out)}

    def contents(self) -> dict[str, str]:
        """The content of each image of the last run."""
        folder = Results(self.out)
        parts = folder.parts.read(folder.current(), ["path", "content"])
        return {row["path"]: row["content"] for part in parts for row in part.to_pylist()}

    def label(self, reason: str = "random") -> None:
        """Labels all images, by their folders."""
        LabelFile(self.out).append(
            [
                Answer(path, content, path.split("/")[0], reason=reason)
                for path, content in sorted(self.contents().items())
            ]
        )

    def promote_anyway(self, model: Path) -> None:
        """Adds and promotes a model, whatever speaks against it."""
        assert self.models("add", model).code == 0
        name = self.registry.models[-1].name
        assert self.models("promote", name, "--force", "--reason", "a test").code == 0

    def add_picture(self, colour: str, seed: int) -> None:
        """One more picture."""
        content = colours.picture(colour, seed=seed)
        (self.pictures / colour / f"{seed}.jpg").write_bytes(content)


def fails(done: Outcome, code: int, *said: str) -> None:
    """A command that failed with one sentence."""
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    for text in said:
        assert text in done.err

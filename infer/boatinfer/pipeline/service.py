"""The model in service: that of runs into a results folder without ``-m``."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from boatinfer.errors import UsageError
from boatinfer.models.built_in import BUILT_IN
from boatinfer.models.model import read_model
from boatinfer.pipeline.options import RunOptions
from boatinfer.results.registry import MODELS, Registry

__all__ = ["with_model_in_service"]

Options = TypeVar("Options", bound=RunOptions)


def with_model_in_service(options: Options) -> Options:
    """The options with the model that was promoted in their results folder, if one was.

    Raises:
        UsageError: the options name another model.
        ModelError: the model that they name cannot be read.
        OutputError: the log of the models is damaged.
    """
    out = options.results_folder
    if not (isinstance(out, Path) and (out / MODELS).is_dir()):
        return options
    registry = Registry(out)
    serving = registry.in_service
    if serving is None:
        return options
    if options.model is not None:
        digest = hashlib.sha256(read_model(options.model)).hexdigest()
        if digest != serving.file:
            named = "the built-in one" if options.model == BUILT_IN else options.model
            raise UsageError(
                f"{out} has the model {serving} in service, and -m names another, {named}; leave "
                "out -m (in night.toml the key model), put the other into service with "
                "'boatinfer models promote', or choose another -o."
            )
    return replace(options, model=registry.file_of(serving))

"""The table ``[keep]`` of ``night.toml``: for how long what stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from boatinfer.night.keys import Key
from boatinfer.results.retention import Policy
from boatinfer.results.unused import Limits

__all__ = ["Keep", "keep_keys", "keep_of"]

_COUNT = {"type": "integer", "minimum": 1}
_TIME = {"type": "string", "pattern": r"^[1-9]\d{0,4}[dwmy]$", "examples": ["90d"]}
#: Days of the units of time.
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}


@dataclass(frozen=True)
class Keep:
    """What stays in the results folders.

    Attributes:
        nights: whose pages and summaries.
        rows: rows that no run needs.
        damaged: for how long files that were damaged and set aside stay; None for ever.
    """

    nights: Policy
    rows: Limits
    damaged: timedelta | None


def keep_keys() -> dict[str, Key]:
    """The keys of ``[keep]``."""
    keys = [
        Key("last", "Latest nights whose pages and summaries stay.", _COUNT),
        Key("daily", "Days of which the latest night stays.", _COUNT),
        Key("weekly", "Weeks of which the latest night stays.", _COUNT),
        Key("monthly", "Months of which the latest night stays.", _COUNT),
        Key("yearly", "Years of which the latest night stays.", _COUNT),
        Key(
            "gone",
            "For how long the rows of images that are gone stay, as 90d, 12w, 3m or 1y.",
            _TIME,
        ),
        Key(
            "old-models",
            "For how long the rows of models that are not in use any more stay, as 90d.",
            _TIME,
        ),
        Key(
            "damaged",
            "For how long files that were damaged and set aside stay, as 90d.",
            _TIME,
        ),
    ]
    return {key.name: key for key in keys}


def keep_of(values: Mapping[str, Any]) -> Keep:
    """What the values of the table say.

    Args:
        values: by the names that they have in Python.
    """
    counts = {name: values[name] for name in Policy.__dataclass_fields__ if name in values}
    gone, old_models, damaged = (_time(values.get(n)) for n in ("gone", "old_models", "damaged"))
    return Keep(Policy(**counts), Limits(gone, old_models), damaged)


def _time(text: str | None) -> timedelta | None:
    said = re.fullmatch(r"(\d+)([dwmy])", text or "")
    return timedelta(int(said[1]) * _DAYS[said[2]]) if said else None

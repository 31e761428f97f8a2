"""The JSON schema of ``night.toml``, with which editors complete and check it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boatinfer.night.keep import keep_keys
from boatinfer.night.keys import Key, default_keys, folder_keys, schedule_keys
from boatinfer.night.metrics import metrics_keys
from boatinfer.night.notify.settings import folder_notify_keys, notify_keys

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12)."""
    folder = _table(folder_keys(), "One folder of images.")
    told = "Who is told of this folder, and when, instead of what [notify] says."
    folder["properties"]["notify"] = _table(folder_notify_keys(), told)
    top = _table(default_keys(), "What a night is: folders of images, classified in turn.")
    properties = top["properties"] | {
        "folder": {
            "type": "array",
            "minItems": 1,
            "items": folder | {"required": ["name", "dir"]},
            "description": "The folders, in their order.",
        },
        "schedule": _table(schedule_keys(), "When the night starts, and what it may take."),
        "notify": _table(notify_keys(), "Who is told how a night went, and when."),
        "keep": _table(keep_keys(), "What stays in the results folders; without it everything."),
        "metrics": _table(metrics_keys(), "Figures for Prometheus.") | {"required": ["file"]},
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "night.toml"}
    return head | top | {"properties": properties, "required": ["folder"]}


def _table(keys: Mapping[str, Key], description: str) -> dict[str, Any]:
    """The schema of a table; names may be written with ``_`` too, which editors do not offer."""
    written = {f"^{key.field}$": dict(key.schema) for key in keys.values() if key.field != key.name}
    return {
        "type": "object",
        "description": description,
        "properties": {key.name: _property(key) for key in keys.values()},
        "patternProperties": written,
        "additionalProperties": False,
    }


def _property(key: Key) -> dict[str, Any]:
    default = {} if key.default is None or _required(key) else {"default": key.default}
    return {**key.schema, "description": key.help, **default}


def _required(key: Key) -> bool:
    return key.name in {"name", "dir"}

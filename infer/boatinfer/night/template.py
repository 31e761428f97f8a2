"""The ``night.toml`` that ``boatinfer night init`` writes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

from boatinfer.night.keep import keep_keys
from boatinfer.night.keys import FORMAT, Key, default_keys, folder_keys, schedule_keys
from boatinfer.night.metrics import metrics_keys
from boatinfer.night.notify.settings import notify_keys
from boatinfer.night.schema import json_schema
from boatinfer.storage.files import atomic_write, require_writable

__all__ = ["SCHEMA_NAME", "template", "write_template"]

#: Name of the schema beside the file.
SCHEMA_NAME = "night.schema.json"

_HEAD = f"""\
#:schema ./{SCHEMA_NAME}
# What a night is. Paths are relative to this file. 'boatinfer night plan' says what would be done,
# 'boatinfer night run' does it, 'boatinfer night install' has the system do it.
format = {FORMAT}

# Defaults of all folders: every option of 'boatinfer run' may stand here, or in a folder.
"""
_FOLDER = """
# One table for each folder; they are run in this order.
[[folder]]
name = "photos"
dir = "photos"
# out = "boatinfer-out/photos"

# [[folder]]
# name = "inbox"
# dir = "/srv/inbox"
# allow-empty = true
"""
_TABLES = {
    "keep": "What stays in the results folders, as the options of 'restic forget' say it; without "
    "this table everything. 'boatinfer night prune --dry-run' says what would go.",
    "notify": "Who is told how a night went; 'boatinfer night notify --test' tries it. A folder "
    "may have its own, in a table [folder.notify] below its keys.",
    "metrics": "Figures for Prometheus, read by the textfile collector of node_exporter.",
}
#: Keys of the two folders above.
_SHOWN = {"format", "name", "dir", "out"}
#: What stands where an option has no default.
_EXAMPLES = {
    "cpus": 4,
    "min-confidence": 0.5,
    "max-novelty": 0.99,
    "target-accuracy": 0.99,
    "memory": "4G",
}
_EXAMPLES |= {
    **{"last": 7, "daily": 30, "weekly": 12, "monthly": 24, "yearly": 10},
    **{"gone": "90d", "old-models": "90d", "damaged": "90d"},
    "link-prefix": "https://server/nights",
    "endpoint": "https://server:9000",
    "shard": "1/2",
    "on-failure": "mail.service",
    "apprise": ["mailtos://you:${MAIL_PASSWORD}@example.org"],
    "webhooks": ["file:webhook.secret"],
    "ping": "https://hc-ping.com/${PING_ID}",
    "file": "/var/lib/prometheus/node-exporter/boatinfer.prom",
}


def write_template(file: Path, force: bool) -> Path:
    """Writes the file, and the schema beside it, which is always that of this version.

    Returns:
        The schema's file.

    Raises:
        UsageError: there is such a file.
        OutputError: one could not be written.
    """
    require_writable(file, force=force)
    schema = file.with_name(SCHEMA_NAME)
    for path, text in ((file, template()), (schema, json.dumps(json_schema(), indent=2) + "\n")):
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return schema


def template() -> str:
    """The file: every key with what it means, those with a default commented out."""
    defaults = [key for key in default_keys().values() if key.name not in _SHOWN]
    lines = [_HEAD, *(line for key in defaults for line in _commented(key)), _FOLDER, "[schedule]"]
    for key in schedule_keys().values():
        lines += _commented(key, active=key.name == "at")
    tables = {"keep": keep_keys(), "notify": notify_keys(), "metrics": metrics_keys()}
    for name, keys in tables.items():
        lines += ["", *_wrapped(_TABLES[name]), f"# [{name}]"]
        lines += [line for key in keys.values() for line in _commented(key)]
    extra = set(folder_keys()) - set(default_keys()) - _SHOWN
    assert not extra, extra
    return "\n".join(lines) + "\n"


def _commented(key: Key, active: bool = False) -> Iterator[str]:
    yield from _wrapped(key.help)
    value = key.default
    if value is None:
        value = _EXAMPLES.get(key.name, 1 if key.schema.get("type") == "integer" else "...")
        value = True if key.schema.get("type") == "boolean" else value
    yield f"{'' if active else '# '}{key.name} = {json.dumps(value)}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 98, initial_indent="# ", subsequent_indent="# ")

"""What the data commands print."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from boatinfer.text import printable
from boattrain.data.check import Report
from boattrain.data.rules import Severity

__all__ = ["plain_console", "print_counts", "print_report"]


def print_counts(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> None:
    """Prints how many images each class has in each split.

    Args:
        classes: names of the classes.
        counts: for each split, the images of each class.
    """
    table = Table(box=SIMPLE, show_footer=True, pad_edge=False)
    table.add_column("class", "all", overflow="fold")
    for split, column in counts.items():
        table.add_column(split, f"{sum(column):,}", justify="right")
    for name, *row in zip(classes, *counts.values(), strict=True):
        table.add_row(printable(name), *(f"{count:,}" for count in row))
    plain_console().print(table)


def print_report(report: Report, most: int) -> None:
    """Prints what a check found.

    Args:
        report: what it found.
        most: how many cases of each finding to name.
    """
    print_counts(
        list(next(iter(report.counts.values()))),
        {split: list(counts.values()) for split, counts in report.counts.items()},
    )
    console = plain_console()
    if report.on_the_fly:
        console.print("(class folders alone: these are the splits that a training would make)")
    for finding in report.findings:
        cases = finding.cases
        console.print(f"{finding.severity}: {finding.kind} ({len(cases):,}): {finding.message}")
        for case in cases[:most]:
            line = " = ".join(map(_named, case.files)) + (f": {case.note}" if case.note else "")
            console.print(f"  {printable(line)}")
        if len(cases) > most:
            console.print(f"  and {len(cases) - most:,} more; --json names all")
    severities = Counter(finding.severity for finding in report.findings)
    errors, warnings = severities[Severity.ERROR], severities[Severity.WARNING]
    verdict = (
        f"{errors} of these would break or falsify a training"
        if errors
        else "nothing here would break or falsify a training"
    )
    console.print(f"{verdict}; warnings: {warnings}")


def _named(name: str) -> str:
    """A name in quotes, unless it is one without blanks and other odd signs."""
    return name if re.fullmatch(r"[\w./-]+", name) else repr(name)


def plain_console() -> Console:
    """A console that shows names as they are, whatever signs are in them."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)

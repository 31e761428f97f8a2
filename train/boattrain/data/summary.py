"""Prints the results of the data commands."""

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
    """Prints the number of images of each class in each split.

    Args:
        classes: class names.
        counts: number of images of each class, by split.
    """
    table = Table(box=SIMPLE, show_footer=True, pad_edge=False)
    table.add_column("class", "all", overflow="fold")
    for split, column in counts.items():
        table.add_column(split, f"{sum(column):,}", justify="right")
    for name, *row in zip(classes, *counts.values(), strict=True):
        table.add_row(printable(name), *(f"{count:,}" for count in row))
    plain_console().print(table)


def print_report(report: Report, max_cases: int) -> None:
    """Prints the result of a check.

    Args:
        report: the result.
        max_cases: number of cases to list of each finding, at most.
    """
    print_counts(
        list(next(iter(report.counts.values()))),
        {split: list(counts.values()) for split, counts in report.counts.items()},
    )
    console = plain_console()
    if report.on_the_fly:
        console.print("(class folders only: training would make these splits)")
    for finding in report.findings:
        cases = finding.cases
        console.print(f"{finding.severity}: {finding.kind} ({len(cases):,}): {finding.message}")
        for case in cases[:max_cases]:
            line = " = ".join(map(_quoted, case.files)) + (f": {case.note}" if case.note else "")
            console.print(f"  {printable(line)}")
        if len(cases) > max_cases:
            console.print(f"  and {len(cases) - max_cases:,} more; --json lists all")
    severities = Counter(finding.severity for finding in report.findings)
    errors, warnings = severities[Severity.ERROR], severities[Severity.WARNING]
    verdict = (
        f"{errors} of these would break a training or make its metrics wrong"
        if errors
        else "nothing here would break a training"
    )
    console.print(f"{verdict}; warnings: {warnings}")


def _quoted(name: str) -> str:
    """Quotes a name with spaces or special characters."""
    return name if re.fullmatch(r"[\w./-]+", name) else repr(name)


def plain_console() -> Console:
    """Returns a console that prints text as it is, without markup."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)

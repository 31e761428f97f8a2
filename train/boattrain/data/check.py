"""Checks labelled images for what would break a training or make its metrics wrong."""

from __future__ import annotations

import msgspec

from boatinfer.dataset.splits import parse_share
from boatinfer.errors import TOO_MANY_FAILURES
from boatinfer.images import temporary_limits
from boattrain.data.inventory import take_inventory
from boattrain.data.options import CheckOptions
from boattrain.data.rules import RULES, Case, Severity

__all__ = ["Finding", "Report", "check"]


class Finding(msgspec.Struct, frozen=True):
    """The cases that a rule of `boattrain.data.rules` found.

    Attributes:
        kind: name of the rule.
        severity: severity of the rule.
        message: what is wrong, and what to do about it.
        cases: all cases, sorted by name.
    """

    kind: str
    severity: Severity
    message: str
    cases: list[Case]


class Report(msgspec.Struct, frozen=True):
    """The result of a check.

    Attributes:
        data: the data folder.
        on_the_fly: whether the folder is not split, so that training would split it.
        counts: number of readable images by split and class.
        findings: all findings, errors first.
        exit_code: 3 if there are errors, else 0.
    """

    data: str
    on_the_fly: bool
    counts: dict[str, dict[str, int]]
    findings: list[Finding]
    exit_code: int


def check(options: CheckOptions) -> Report:
    """Reads every file of a data folder once and applies all rules.

    Args:
        options: the data folder, and how to read it.

    Raises:
        UsageError: the folder does not exist, or has no images in class folders.
    """
    with temporary_limits(options.memory, None):
        inventory = take_inventory(
            options.data,
            parse_share(options.valid, "--valid"),
            table=options.table,
            group_by=options.group_by,
        )
    findings = [
        Finding(rule.kind, rule.severity, rule.message, cases)
        for rule in RULES
        if (cases := rule.cases(inventory))
    ]
    has_errors = any(finding.severity is Severity.ERROR for finding in findings)
    return Report(
        data=str(options.data),
        on_the_fly=inventory.on_the_fly,
        counts=inventory.counts,
        findings=findings,
        exit_code=TOO_MANY_FAILURES if has_errors else 0,
    )

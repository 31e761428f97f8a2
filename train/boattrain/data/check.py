"""Whether labelled images would break or falsify a training."""

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
    """What a rule of `boattrain.data.rules` found.

    Attributes:
        kind: the rule.
        severity: how bad it is.
        message: what is wrong with each case, and what to do.
        cases: every case, sorted by name.
    """

    kind: str
    severity: Severity
    message: str
    cases: list[Case]


class Report(msgspec.Struct, frozen=True):
    """What a check found.

    Attributes:
        data: the folder.
        on_the_fly: whether its splits are those that training would make.
        counts: for each split and class, the images that can be read.
        findings: errors first.
        exit_code: 0, or 3 where something would break or falsify a training.
    """

    data: str
    on_the_fly: bool
    counts: dict[str, dict[str, int]]
    findings: list[Finding]
    exit_code: int


def check(options: CheckOptions) -> Report:
    """Reads every file of a data folder once and judges what it holds.

    Args:
        options: what to check.

    Raises:
        UsageError: there is no such folder, or it holds no images in class folders.
    """
    with temporary_limits(options.memory, None):
        inventory = take_inventory(options.data, parse_share(options.valid, "--valid"))
    findings = [
        Finding(rule.kind, rule.severity, rule.message, cases)
        for rule in RULES
        if (cases := rule.cases(inventory))
    ]
    falsified = any(finding.severity is Severity.ERROR for finding in findings)
    return Report(
        data=str(options.data),
        on_the_fly=inventory.on_the_fly,
        counts=inventory.counts,
        findings=findings,
        exit_code=TOO_MANY_FAILURES if falsified else 0,
    )

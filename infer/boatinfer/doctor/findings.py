"""What an examination finds, as text for people, as JSON, and without what is private."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from boatinfer.errors import DOCTOR_FAULT, DOCTOR_WARNING

__all__ = ["Finding", "Level", "Report"]


class Level(enum.StrEnum):
    """How a finding is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


class Finding(msgspec.Struct, kw_only=True, frozen=True):
    """One line of the examination.

    ``text`` and ``advice`` never hold a name, a path, a host or an error of another program; these
    are in ``subject`` and ``detail``, which an anonymous report leaves out.

    Attributes:
        check: what was looked at.
        level: how it is.
        text: what was found.
        advice: what to do; None if nothing is to be done.
        figures: numbers for programs.
        subject: what it is about, such as the name of a folder.
        detail: more, with names and paths.
    """

    check: str
    level: Level = Level.OK
    text: str
    advice: str | None = None
    figures: dict[str, float] = {}
    subject: str | None = None
    detail: str | None = None


class Report(msgspec.Struct, kw_only=True, frozen=True):
    """All findings.

    Attributes:
        findings: in the order in which they are shown.
    """

    findings: list[Finding]

    @property
    def exit_code(self) -> int:
        """That of the worst finding."""
        levels = {finding.level for finding in self.findings}
        if Level.FAULT in levels:
            return DOCTOR_FAULT
        return DOCTOR_WARNING if Level.WARNING in levels else 0

    def anonymous(self) -> Report:
        """The report without what is private: subjects are numbered in their order."""
        subjects = dict.fromkeys(one.subject for one in self.findings if one.subject)
        numbers = {subject: f"#{number}" for number, subject in enumerate(subjects, 1)}
        return Report(
            findings=[
                msgspec.structs.replace(
                    one, detail=None, subject=numbers[one.subject] if one.subject else None
                )
                for one in self.findings
            ]
        )

    def lines(self) -> list[str]:
        """The report for people: the level, what was looked at, what was found, what to do."""
        heads = [_head(one) for one in self.findings]
        width = max(map(len, heads), default=0)
        return [
            f"{one.level.value:<8} {head:<{width}}  {'; '.join(_said(one))}"
            for one, head in zip(self.findings, heads, strict=True)
        ]


def _head(finding: Finding) -> str:
    return f"{finding.check} {finding.subject}" if finding.subject else finding.check


def _said(finding: Finding) -> Sequence[str]:
    return [part for part in (finding.text, finding.detail, finding.advice) if part]

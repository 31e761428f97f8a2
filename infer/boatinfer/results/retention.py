"""Which runs of a results folder stay: so many of the last ones, of days, weeks, months, years."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

import msgspec

from boatinfer.errors import OutputError
from boatinfer.results.folder import Results
from boatinfer.results.summary import Summary, read_summary, run_time
from boatinfer.storage.base import Place
from boatinfer.storage.locations import map_concurrently

__all__ = ["COMPARED", "Policy", "old_summaries"]

#: Runs with new images, of each model, that later ones are compared with and shown beside.
COMPARED = 30

#: What the runs of one day, week, and so on, have in common.
_PERIODS: Sequence[Callable[[datetime], object]] = (
    lambda moment: moment,  # no two runs start at the same
    lambda moment: moment.date(),
    lambda moment: moment.isocalendar()[:2],
    lambda moment: (moment.year, moment.month),
    lambda moment: moment.year,
)


@dataclass(frozen=True)
class Policy:
    """How many runs stay, as the options of ``restic forget`` say it.

    Attributes:
        last: the latest runs.
        daily: days with a run, of each of which the latest run stays.
        weekly: weeks, from Monday on, likewise.
        monthly: months, likewise.
        yearly: years, likewise.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    def kept(self, runs: Iterable[str]) -> set[str]:
        """The runs that stay, by their ids; all of them if no number is given.

        The days are those of the time zone of this machine. The first run of all stays as long as
        fewer than the days, weeks, ... asked for have gone by.
        """
        left = list(astuple(self))
        latest_first = sorted(runs, reverse=True)
        if not any(left):
            return set(latest_first)
        before: list[object] = [None] * len(left)
        kept = set()
        for run in latest_first:
            moment = _moment(run)
            for number, period in enumerate(_PERIODS):
                value = period(moment)
                if left[number] and (value != before[number] or run == latest_first[-1]):
                    kept.add(run)
                    before[number] = value
                    left[number] -= 1
        return kept


class _Group(msgspec.Struct, frozen=True):
    """Runs that are compared with each other."""

    model: str
    restrictions: tuple[str, ...]


def old_summaries(
    results: Results, policy: Policy, pages: Iterable[str], until: str | None
) -> list[Place]:
    """Summaries in ``runs/`` that need not stay.

    Besides those that the policy keeps, these stay: those of runs with a page; those from the last
    complete run on; of each model the last complete run, runs after it that did not come to their
    end, and the latest `COMPARED` runs with new images, which later runs are compared with; and the
    summaries of shards together with that of the run which they were merged into.

    Args:
        results: the results folder.
        policy: which to keep.
        pages: the runs whose pages stay.
        until: the last complete run; None if there is none, and then all stay.
    """
    files = {file.stem: file for file in (results.out / "runs").glob("*.json")}
    undivided = sorted((run for run in files if _is_run(run)), reverse=True)
    if until is None:
        return []
    candidates = set(undivided) - policy.kept(undivided) - set(pages)
    candidates = {run for run in candidates if run < until}
    needed = _needed(results, undivided, files, candidates)
    gone = candidates - needed
    return sorted(files[run] for run in (*gone, *_shards_of(gone, files)))


def _is_run(name: str) -> bool:
    """Whether a name is the id of a run that is not a shard's."""
    return "-" not in name and run_time(name) != name


def _moment(run: str) -> datetime:
    """When a run started, in the time zone of this machine."""
    return datetime.strptime(run, "%Y%m%dT%H%M%S.%f%z").astimezone()


def _shards_of(gone: set[str], files: Iterable[str]) -> list[str]:
    """Shards that ran between a run that goes and the one before it."""
    owned, shards = [], []
    for name in sorted(files):
        if "-shard-" in name:
            shards.append(name)
        elif _is_run(name):
            owned += shards if name in gone else []
            shards = []
    return owned


def _needed(
    results: Results, runs: Sequence[str], files: dict[str, Place], candidates: set[str]
) -> set[str]:
    """Which of some runs must stay; reads no more summaries than it takes to tell.

    Args:
        results: the results folder.
        runs: all runs, latest first.
        files: their summaries.
        candidates: the runs in question.
    """
    names = sorted(candidates)
    read = dict(
        zip(names, map_concurrently(_read, [files[n] for n in names], results.out), strict=True)
    )
    needed = {run for run, summary in read.items() if summary is None}  # damaged: set aside later
    groups = {_group(summary) for summary in read.values() if _compared(summary)}
    models = {summary.model for summary in read.values() if summary is not None and summary.model}
    counts: Counter[_Group] = Counter()
    ended: set[str] = set()
    for run in runs:
        if models <= ended and all(counts[group] >= COMPARED for group in groups):
            break
        summary = read[run] if run in candidates else _read(files[run])
        if summary is None:
            continue
        if _ended(summary):
            needed |= set() if summary.model in ended else {run}
            ended.add(summary.model)
        elif summary.model and summary.model not in ended:
            needed.add(run)
        if _compared(summary) and counts[_group(summary)] < COMPARED:
            counts[_group(summary)] += bool(summary.new and summary.new.classified)
            needed.add(run)
    return needed


def _read(file: Place) -> Summary | None:
    try:
        return read_summary(file)
    except OutputError:
        return None


def _ended(summary: Summary) -> bool:
    return summary.complete and summary.new is not None


def _compared(summary: Summary | None) -> bool:
    return summary is not None and _ended(summary) and bool(summary.new and summary.new.found)


def _group(summary: Summary | None) -> _Group:
    assert summary is not None
    return _Group(summary.model, tuple(summary.restrictions))

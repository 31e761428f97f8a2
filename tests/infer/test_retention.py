"""Which nights stay: as restic forgets, and what later nights are compared with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from boatinfer.analysis.unusual import comparable
from boatinfer.pages.trends import runs_with_new_images
from boatinfer.results import retention
from boatinfer.results.folder import Results
from boatinfer.results.mix import Mix
from boatinfer.results.retention import COMPARED, Policy, old_summaries
from boatinfer.results.summary import Summary, read_summary

START = datetime(2026, 1, 1, 2, tzinfo=UTC)


#: Runs that later ones are compared with, in the tests.
FEW = 5


def run_id(moment: datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%S.%fZ}"


def days(count: int, step: timedelta = timedelta(1)) -> list[str]:
    return [run_id(START + number * step) for number in range(count)]


def test_the_last_run_of_each_day_week_month_and_year_stays() -> None:
    twice_a_day = days(800, timedelta(hours=12))  # to 4 February 2027, a Thursday
    kept = Policy(last=2, daily=3, weekly=2, monthly=3, yearly=5).kept(twice_a_day)
    assert sorted(run[:11] for run in kept) == [
        "20260101T02",  # the first of all, for there are fewer than five years
        "20261231T14",  # of December and of 2026
        "20270131T14",  # of January and of last week
        "20270202T14",
        "20270203T14",
        "20270204T02",
        "20270204T14",
    ]


def test_without_a_number_all_stay() -> None:
    assert Policy().kept(days(5)) == set(days(5))
    assert Policy(last=2).kept(days(5)) == set(days(5)[-2:])


def forgotten_by_restic(runs: list[str], policy: Policy) -> set[str]:
    """What is left over by ApplyPolicy of restic (internal/data/snapshot_policy.go)."""
    zone = datetime.now().astimezone().tzinfo
    keys = {
        "last": "%Y%m%d%H%M%S%f",
        "daily": "%Y%j",
        "weekly": "%G%V",
        "monthly": "%Y%m",
        "yearly": "%Y",
    }
    buckets = [[getattr(policy, name), form, ""] for name, form in keys.items()]
    kept = set()
    ordered = sorted(runs, reverse=True)
    for number, run in enumerate(ordered):
        moment = datetime.strptime(run, "%Y%m%dT%H%M%S.%f%z").astimezone(zone)
        for bucket in buckets:
            if bucket[0] > 0:
                value = moment.strftime(bucket[1])
                if value != bucket[2] or number == len(ordered) - 1:
                    kept.add(run)
                    bucket[2] = value
                    bucket[0] -= 1
    return kept


numbers = st.integers(0, 6)
policies = st.builds(Policy, numbers, numbers, numbers, numbers, numbers)
moments = st.integers(0, 3 * 365 * 24).map(lambda hours: run_id(START + timedelta(hours=hours)))


@given(st.lists(moments, min_size=1, max_size=60, unique=True), policies)
def test_the_policy_is_that_of_restic(runs: list[str], policy: Policy) -> None:
    wanted = set(runs) if policy == Policy() else forgotten_by_restic(runs, policy)
    assert policy.kept(runs) == wanted


def summary(run: str, model: str, kind: str) -> Summary:
    new = None if kind == "killed" else Mix(found=int(kind == "new"), classified=int(kind == "new"))
    return Summary(run=run, folder="f", started="", model=model, new=new, complete=new is not None)


def written(results: Results, runs: list[Summary]) -> None:
    (results.out / "runs").mkdir(parents=True)
    for run in runs:
        started = datetime.strptime(run.run, "%Y%m%dT%H%M%S.%f%z").isoformat()
        file = results.out / "runs" / f"{run.run}.json"
        file.write_text(replace(run, started=started).text())


kinds = st.tuples(st.sampled_from("ab"), st.sampled_from(["new", "new", "quiet", "killed"]))


#: The last complete run of a model ends what an interrupted one before it has left.
ENDED = [*[("a", "new")] * 10, ("a", "killed"), ("a", "quiet"), ("b", "new")]


@given(st.lists(kinds, min_size=2, max_size=70), policies)
@example(ENDED, Policy(weekly=2))
def test_what_later_runs_are_compared_with_stays(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[str, str]], policy: Policy
) -> None:
    results = Results(tmp_path_factory.mktemp("out") / "out")
    all_runs = [summary(run, *kind) for run, kind in zip(days(len(runs)), runs, strict=True)]
    written(results, all_runs)
    complete = [run.run for run in all_runs if run.complete]
    before = [seen(results, model) for model in "ab"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "COMPARED", FEW)
        for file in old_summaries(results, policy, [], complete[-1] if complete else None):
            file.unlink()
    assert [seen(results, model) for model in "ab"] == before
    stay = {file.stem for file in (results.out / "runs").glob("*.json")}
    assert stay >= policy.kept(days(len(runs)))
    assert all(run.run in stay for run in all_runs if complete and run.run >= complete[-1])


def seen(results: Results, model: str) -> list[object]:
    """What a later run of a model makes of the history."""
    later = Summary(run=run_id(START + timedelta(1000)), folder="f", started="", model=model)
    earlier = list(runs_with_new_images(results.history(later), model))
    return [
        [run.run for run in comparable(later, results.history(later), FEW - 1)],
        [run.run for run in earlier[:FEW]],
        [run for run in results.new_runs(later) if _has_rows(results, run, model)],
    ]


def _has_rows(results: Results, run: str, model: str) -> bool:
    """Whether a run may have rows of a model."""
    files = {one.run: one for one in results.history(Summary(run="9", folder="f", started=""))}
    return run in files and files[run].model == model


def test_only_what_is_in_question_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(tmp_path / "out")
    written(results, [summary(run, "a", "new") for run in days(400)])
    read: list[str] = []

    def noted(file: Path) -> Summary | None:
        read.append(file.stem)
        return read_summary(file)

    monkeypatch.setattr("boatinfer.results.retention.read_summary", noted)
    gone = old_summaries(results, Policy(last=399), [], days(400)[-1])
    assert [file.stem for file in gone] == days(400)[:1]
    assert len(read) <= 2 * (COMPARED + 2)


def test_shards_go_with_the_run_that_they_were_merged_into(tmp_path: Path) -> None:
    results = Results(tmp_path / "out")
    runs = days(50)
    written(results, [summary(run, "a", "quiet") for run in runs])
    for run in runs:
        shard = run_id(datetime.strptime(run, "%Y%m%dT%H%M%S.%f%z") - timedelta(hours=1))
        (results.out / "runs" / f"{shard}-shard-1-of-1.json").write_text("{}")
    gone = [file.stem for file in old_summaries(results, Policy(last=3), [], runs[-1])]
    assert len(gone) == 2 * 47
    assert sum("-shard-" in name for name in gone) == 47
    assert max(gone) < runs[-3]

"""The pages of a run, ``report.html`` and ``reports/RUN.html``: the most important facts first."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from boatinfer.analysis.history import RunHistory
from boatinfer.errors import OutputError, UsageError
from boatinfer.i18n import language_of, resolved
from boatinfer.pages import contents, page
from boatinfer.pages.challenger import challenger_section
from boatinfer.pages.first_screen import first_sentence, problems, to_check, unsure
from boatinfer.pages.gallery import gallery_pages, write_gallery
from boatinfer.pages.heat_maps import heat_maps
from boatinfer.pages.kept import KeptPages, replaced, run_of
from boatinfer.pages.links import Links, rooted
from boatinfer.pages.selection import Selection, label_counts
from boatinfer.pages.thumbnails import Album
from boatinfer.pages.trends import RUNS, Trends, runs_with_new_images
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.left_out import left_out_in_words
from boatinfer.results.published_tables import read_tables
from boatinfer.results.summary import Summary, read_summary
from boatinfer.results.tables.predictions import UNKNOWN, UNSURE, Tables
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors

__all__ = ["make_report", "write"]

#: Bytes that the table of images may take.
_ROWS_BYTES = 400_000
#: Earlier runs that are looked at for those with new images, at most.
_EARLIER_RUNS = 500


def write(results: Results, summary: Summary, tables: Tables | None, enabled: bool = True) -> None:
    """Writes ``report.html``, or removes an outdated one, and the run's own page in ``reports``.

    A complete run without new images leaves the page of the last one that had some, with a banner.

    Args:
        results: the results folder.
        summary: the run's summary.
        tables: the contents of predictions.csv and failures.csv; None if the run is in progress or
            incomplete: the page of the last complete run then gets a banner on it.
        enabled: whether to write a page.

    Raises:
        OutputError: the page could not be written.
    """
    if not enabled:
        with translate_write_errors(results.report):
            results.report.unlink(missing_ok=True)
    elif tables is None:
        if not _announce(results, "later.html", summary):
            page.write(
                results.report,
                "unfinished.html",
                language_of(summary.language),
                summary=summary,
            )
    else:
        _write_complete(results, summary, tables, anew=False)


def make_report(out: Place, run: str | None = None, language: str | None = None) -> Place:
    """Rewrites ``report.html`` of the last complete run, with a banner on a later one.

    Args:
        out: the results folder.
        run: rewrites the page of this run instead, in ``reports``.
        language: the page's language, such as ``de``; None for that of the run.

    Returns:
        The path of the page.

    Raises:
        UsageError: it is not a results folder, or it has no such run.
        BusyError: a run has locked it.
        OutputError: the results are damaged, or the page could not be written.
    """
    results = find_results(out)
    last = results.last_run() or results.last_finished()  # raises if there is none
    with results.lock(last.folder):
        if run is not None:
            return _write_kept_page(results, run, language)
        complete = results.last_complete()
        if complete is not None:
            tables = read_tables(results)
            _write_complete(results, complete, tables, anew=True, language=language)
        if not last.complete:
            write(results, _in(last, language), None)
    return results.report


def _in(summary: Summary, language: str | None) -> Summary:
    """A summary with another language for its page, if there is one."""
    return summary if language is None else replace(summary, language=resolved(language))


def _write_complete(
    results: Results, summary: Summary, tables: Tables, anew: bool, language: str | None = None
) -> None:
    """Writes the page of a complete run.

    Args:
        results: the results folder.
        summary: the run's summary.
        tables: its tables.
        anew: whether to write a page again that is there and only needs a banner.
        language: of the page, if it is not that of its run.
    """
    shown = _run_to_show(results, summary)
    if shown is None:
        _write_page(results, _in(summary, language), tables)
        return
    if anew or run_of(results.report) != shown.run:
        _write_page(results, _in(shown, language), tables.as_of(results.new_runs(shown)))
    _announce(results, "nothing_new.html", _in(summary, language))


def _write_kept_page(results: Results, run: str, language: str | None) -> Place:
    names = {file.stem: file for file in (results.out / "runs").glob("*.json")}
    summary = read_summary(names[run]) if run in names else None
    if summary is None:
        raise UsageError(f"there is no run {run} in {results.out / 'runs'}; check the name.")
    if not summary.complete or not (summary.new and summary.new.found):
        raise UsageError(
            f"the run {run} was not complete or had no new images, and has no page; give another."
        )
    tables = read_tables(results).as_of(results.new_runs(summary))
    if summary.new.classified and not tables.count(new=True):
        raise UsageError(
            f"the images of the run {run} have been classified again or are gone, so its page "
            "cannot be made again; the one that was kept stays."
        )
    _keep(results, _in(summary, language), tables)
    return results.reports / f"{run}.html"


def _run_to_show(results: Results, summary: Summary) -> Summary | None:
    """The last run with new images, if this one has none; None if this one's page is to be made."""
    if summary.new is None or summary.new.found:
        return None
    for runs in (_of_last_page(results), results.history(summary)):
        earlier = runs_with_new_images(itertools.islice(runs, _EARLIER_RUNS), summary.model)
        for run in earlier:
            if run.folder == summary.folder and run.run < summary.run:
                return run
    return None


def _of_last_page(results: Results) -> Iterator[Summary]:
    """The run that ``report.html`` is of: every run with new images writes or removes the page."""
    run = run_of(results.report)
    if run is not None and run in KeptPages(results):
        with contextlib.suppress(OutputError):  # damaged
            summary = read_summary(results.out / "runs" / f"{run}.json")
            if summary is not None:
                yield summary


def _announce(results: Results, template: str, summary: Summary) -> bool:
    """Puts a banner on a later run into the page; says whether there was a page for it."""
    values = {"summary": summary, "problems": problems(summary), "earlier": True}
    banner = page.rendered(template, language_of(summary.language), **values)
    html = replaced(results.report, "later run", banner)
    if html is None:
        return False
    page.save(results.report, html)
    return True


def _write_page(results: Results, summary: Summary, tables: Tables) -> None:
    if summary.new is not None and summary.new.found:
        html = _keep(results, summary, tables)
    else:
        html = _rendered(results, summary, tables)
    page.save(results.report, rooted(html, ""))


def _keep(results: Results, summary: Summary, tables: Tables) -> str:
    """Writes the run's own page, and gives it as it was rendered."""
    html = _rendered(results, summary, tables)
    KeptPages(results).keep(summary.run, html, language_of(summary.language))
    return html


def _rendered(results: Results, summary: Summary, tables: Tables) -> str:
    """Renders the page of a run, and writes its gallery."""
    kept, language = KeptPages(results), language_of(summary.language)
    link = Links(summary.folder, results.out, summary.link_prefix)
    available = label_counts(tables.classified(new=True))
    values = _values(results, summary, tables, available, link)
    if available:
        write_gallery(kept, summary, tables, available, link)
    known = {run.run for run in values["runs"] if run.run in kept or run is summary}
    beside = kept.beside(summary.run)
    return page.rendered(
        "report.html", language, summary=summary, report=values, kept=known, **beside
    )


def _values(
    results: Results,
    summary: Summary,
    tables: Tables,
    available: dict[str, int],
    link: Links,
) -> dict[str, Any]:
    language = language_of(summary.language)
    history = itertools.islice(results.history(summary), _EARLIER_RUNS)
    earlier = runs_with_new_images(history, summary.model)
    runs = [summary, *itertools.islice(earlier, RUNS - 1)]
    compared = RunHistory.select(summary, runs[1:])
    trends = Trends(runs if summary.new and summary.new.found else runs[1:], language)
    has_new = bool(available)  # otherwise the page shows all images
    available = available or label_counts(tables.classified(new=False))
    limits = {UNSURE: summary.min_confidence, UNKNOWN: summary.max_novelty}
    selection = Selection(
        available, {label for label, limit in limits.items() if limit is not None}
    )
    for rows in tables.classified(new=has_new):
        selection.add(rows)
    album = Album(summary.folder, link)
    review = contents.review(selection, album)
    pictures = contents.class_pictures(selection, album)
    shown = [part for part in review.values() if isinstance(part, list)]
    shown += [part["pictures"] for part in pictures]
    paths = (picture.path for part in shown for picture in part if picture.source)
    return {
        "sentence": first_sentence(summary, language),
        "problems": problems(summary),
        "unsure": unsure(summary),
        "to_check": to_check(summary),
        "has_new": has_new,
        "left_out": left_out_in_words(summary, language),
        "history": compared,
        "runs": runs,
        "trends": trends,
        "classes": contents.class_rows(compared, trends),
        "confidences": contents.confidence_histogram(compared),
        "review": review,
        "challenger": challenger_section(results, summary, tables, album),
        "pictures": pictures,
        "heat_maps": heat_maps(summary, paths),
        "gallery": gallery_pages(summary, available) if has_new else {},
        "failures": list(contents.new_failures(tables.failures, link)),
        "known_failures": contents.known_failures(tables.failures, link),
        "stages": list(contents.stages(summary, language)),
        "images": list(page.fit_rows(_ROWS_BYTES, selection.sample, link)),
        "total": selection.total,
    }

"""``boatinfer review``: reads what there is to ask, and serves the page until it is stopped."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.dataset.label_tables import read_path_list
from boatinfer.errors import UsageError
from boatinfer.results.find import find_results
from boatinfer.results.labels import LabelFile
from boatinfer.review.candidates import Candidates, read_candidates
from boatinfer.review.nearest import Training
from boatinfer.review.options import ReviewOptions
from boatinfer.review.order import sections
from boatinfer.review.pictures import Pictures
from boatinfer.review.server import ReviewServer
from boatinfer.review.session import Session
from boatinfer.storage.locations import place
from boatinfer.text import counted, from_text

__all__ = ["serving"]


@contextlib.contextmanager
def serving(options: ReviewOptions, on_link: Callable[[str], None]) -> Iterator[ReviewServer]:
    """Opens a session and its server, which is to be started with ``serve_forever``.

    Args:
        options: the results folder, and what to ask.
        on_link: called with each link that opens the page once.

    Raises:
        UsageError: there is nothing to review, or the port is taken.
        OutputError: the results or labels.csv cannot be read, or are in a bucket.
    """
    results = find_results(options.out)
    labels = LabelFile(results.out)
    summary = results.last_finished()
    folder = place(from_text(summary.folder))
    with contextlib.ExitStack() as stack:
        pictures = stack.enter_context(Pictures(folder))  # it starts while the tables are read
        candidates = read_candidates(results, summary, options.everything)
        suspects = None if options.suspects is None else _listed(options.suspects, candidates)
        training = None if options.train is None else Training(options.train, results)
        asked = sections(candidates, suspects)
        session = Session(
            results, candidates, labels, asked, pictures, who=options.who, training=training
        )
        others = None
        if training is not None:
            others = stack.enter_context(Pictures(place(from_text(training.folder))))
        server = stack.enter_context(ReviewServer(options.port, session, pictures, others, on_link))
        threading.Thread(target=session.learn_contents, daemon=True).start()
        yield server


def _listed(file: Path, candidates: Candidates) -> pa.Array:
    """The paths of a list of images, string [L]."""
    folder = from_text(candidates.summary.folder).rstrip("/") + "/"
    paths = pa.array([path.removeprefix(folder) for path in read_path_list(file)], pa.string())
    if not pc.any(pc.is_in(paths, value_set=candidates.paths.combine_chunks())).as_py():
        raise UsageError(
            f"{file} lists none of the {counted(len(candidates), 'image')} to review; its paths "
            "must be those of predictions.csv"
            + ("; give --all for all images." if candidates.only_new else ".")
        )
    return paths

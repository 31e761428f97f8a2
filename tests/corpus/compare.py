"""The corpus read by `boatinfer.images.read` beside independent decoders.

``PYTHONPATH=tests python -m corpus.compare`` prints the table.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch

import numpy as np

from boatinfer import images
from boatinfer.errors import Failure, ImageError
from boatinfer.images.spec import ImageSpec
from corpus.judges import EXCEPTIONS, JUDGES
from corpus.other import other_samples
from corpus.sample import Array, Sample

__all__ = ["Verdict", "judged", "table"]

SPEC = ImageSpec(height=30, width=50)
#: Mean absolute difference of two pictures that agree, of 255.
CLOSE = 2.0


@dataclass
class Verdict:
    """What came of one file.

    Args:
        name: ``format/kind``.
        found: the reader's pixels, or why it failed.
        wrong: one line for everything that is not as it should be.
        confirmed: the judges that see the same picture.
    """

    name: str
    found: Array | ImageError
    wrong: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)


def judged(samples: Iterable[Sample]) -> Iterator[Verdict]:
    """Reads each file, and compares it with what is right and with all judges."""
    for sample in samples:
        verdict = Verdict(sample.name, _read(sample.data))
        if isinstance(verdict.found, ImageError) or isinstance(sample.right, Failure):
            _judge_failure(verdict, sample.right)
        else:
            if (far := _difference(verdict.found, [sample.right])) >= CLOSE:
                verdict.wrong.append(f"{sample.name}: {far:.1f} from what is right")
            _ask_judges(verdict, verdict.found, sample.data)
        yield verdict


def _read(data: bytes) -> Array | ImageError:
    try:
        return images.read(data, SPEC)
    except ImageError as error:
        return error


def _judge_failure(verdict: Verdict, right: Array | Failure) -> None:
    found = verdict.found.reason if isinstance(verdict.found, ImageError) else "ok"
    wanted = right if isinstance(right, Failure) else "ok"
    if found != wanted:
        said = f" ({verdict.found})" if isinstance(verdict.found, ImageError) else ""
        verdict.wrong.append(f"{verdict.name}: {found} and not {wanted}{said}")


def _ask_judges(verdict: Verdict, found: Array, data: bytes) -> None:
    for judge, look in JUDGES.items():
        views = look(data)
        if views and (far := _difference(found, views)) < CLOSE:
            verdict.confirmed.append(judge)
        elif views and not any(fnmatch(verdict.name, kind) for kind in EXCEPTIONS[judge]):
            verdict.wrong.append(f"{verdict.name}: {far:.1f} from {judge}")


def _difference(found: Array, views: list[Array]) -> float:
    fitted = [images.fit(np.ascontiguousarray(view), SPEC) for view in views]
    return min(float(np.abs(found.astype(int) - view).mean()) for view in fitted)


def table(verdicts: list[Verdict]) -> str:
    """Lines of format, files, how many agree, and how many failed with the true reason."""
    counts: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        count = counts.setdefault(verdict.name.split("/")[0], Counter())
        failed = isinstance(verdict.found, ImageError)
        count.update(["files", "wrong" if verdict.wrong else "failed" if failed else "agree"])
        count.update(verdict.confirmed)
    columns = ["files", "agree", "failed", "wrong", *JUDGES]
    counts["all"] = sum(counts.values(), Counter())
    rows = [
        f"{name:14}" + "".join(f"{count[c]:9}" for c in columns) for name, count in counts.items()
    ]
    return "\n".join([f"{'format':14}" + "".join(f"{column:>9}" for column in columns), *rows])


if __name__ == "__main__":
    verdicts = list(judged(other_samples()))
    sys.stdout.write(table(verdicts) + "\n")
    sys.stdout.writelines(line + "\n" for verdict in verdicts for line in verdict.wrong)

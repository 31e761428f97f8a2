"""Peak memory of a working run, for more and more images.

Usage: python benchmarks/memory.py [COUNT ...]    (default 1000 10000 100000)

The images are links to the drawn samples, so that the disk holds a dozen.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from measure import measure

SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.jpg"))


def main() -> None:
    """Prints a row for each count."""
    print(f"{'images':>9} {'seconds':>8} {'peak MB':>8}")
    for count in [int(argument) for argument in sys.argv[1:]] or [1000, 10_000, 100_000]:
        work = Path(tempfile.mkdtemp(prefix="memory-", dir=SAMPLES[0].parents[1]))
        for number in range(count):
            (work / "in" / f"{number // 1000}").mkdir(parents=True, exist_ok=True)
            sample = SAMPLES[number % len(SAMPLES)]
            os.link(sample, work / "in" / f"{number // 1000}" / f"{number}.jpg")
        command = [sys.executable, "-m", "boatinfer", "run", str(work / "in"), "--json", "--quiet"]
        done = measure([*command, "-o", str(work / "out")])
        shutil.rmtree(work)
        assert json.loads(done.output)["classified"] == count
        print(f"{count:>9,} {done.seconds:>8.1f} {done.memory:>8.0f}")


if __name__ == "__main__":
    main()

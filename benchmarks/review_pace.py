"""How fast a person can review: a script drives a real browser through the page.

Usage: ``python benchmarks/review_pace.py OUT [ANSWERS] [SECONDS]``. It starts ``boatinfer review``,
opens the page in the Chromium of the system and answers ANSWERS images (200 by default), with
SECONDS (1.2 by default) for looking at each, as a person would take: the second guess for every
fifth, the first for the others. Prints how long it took, and the time from a key to the next
picture.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from boatinfer.results.labels import LABELS, read_labels


def main() -> None:
    """Reviews, and prints the figures."""
    out = Path(sys.argv[1])
    answers = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 1.2
    process = subprocess.Popen(
        [sys.executable, "-m", "boatinfer", "review", str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    link = process.stdout.readline().split()[-1]
    before = len(read_labels(out / LABELS).answers)
    waits = []
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(link)
            page.wait_for_selector("body[data-shown]")
            begun = time.monotonic()
            for number in range(answers):
                time.sleep(seconds)
                row = page.locator("body").get_attribute("data-shown")
                page.keyboard.press("2" if number % 5 == 4 else "1")
                page.wait_for_selector(f"body[data-shown]:not([data-shown='{row}'])")
                waits.append(float(page.evaluate("document.body.dataset.milliseconds")))
            took = time.monotonic() - begun
            page.wait_for_timeout(3000)  # the last answers are on their way
    finally:
        process.terminate()
        process.wait()
    saved = len(read_labels(out / LABELS).answers) - before
    middle, most = np.percentile(waits, [50, 95])
    print(
        f"{answers} answers of {saved} images in {took:.0f} s; next picture after {middle:.0f} ms "
        f"(median), {most:.0f} ms (95th percentile), {max(waits):.0f} ms at most"
    )


if __name__ == "__main__":
    main()

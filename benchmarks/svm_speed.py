"""Fits a linear SVM on simulated features; prints what was said before, seconds, peak memory.

python benchmarks/svm_speed.py [images] [dimension] [classes]
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

from boatinfer.results.folder import Results
from boatinfer.results.summary import Summary
from boatinfer.svm.fit import Setting, pipeline, report_estimated_time
from boatinfer.svm.labelled import Labelled


def main(images: int = 100_000, dimension: int = 2048, classes: int = 16) -> None:
    """Times one fit."""
    random = np.random.default_rng(0)
    centres = random.normal(scale=0.12, size=(classes, dimension)).astype(np.float32)
    truth = random.integers(classes, size=images)
    features = np.empty((images, dimension), np.float32)
    for start in range(0, images, 1000):
        of = truth[start : start + 1000]
        noise = random.standard_normal((len(of), dimension), np.float32)
        features[start : start + 1000] = centres[of] + noise
    run = Summary(run="", folder="", started="")
    names, said = [str(of) for of in range(classes)], np.empty(0, object)
    known = Labelled(Results(Path()), run, features, names, truth, said)
    setting = Setting("linear")
    started = time.perf_counter()
    report_estimated_time(setting, known, 1, lambda line: print(line, flush=True))
    middle = time.perf_counter()
    fitted = pipeline(setting, images).fit(features, truth)
    took = time.perf_counter() - middle
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    new = truth[:2000]
    noise = random.standard_normal((2000, dimension), np.float32)
    right = float((fitted.predict(centres[new] + noise) == new).mean())
    print(f"estimated in {middle - started:.0f} s, fitted in {took:.0f} s, peak {peak:.1f} GB")
    print(f"epochs {fitted[-1].n_iter_}, accuracy on new vectors {right:.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""An SVM's file is read as data: the answer is a sentence or the right scores."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from boatinfer.errors import ModelError
from boatinfer.models import pickles
from boatinfer.models.seal import PICKLE, seal
from boatinfer.models.svm import pack, read
from boatinfer.svm.linear import LinearSVM

HERE = Path("svm.joblib")


def fitted(
    classes: int, dimension: int, seed: int = 0, svm: Any = None, spread: float = 1.0
) -> tuple[Any, Any]:
    """A pipeline fitted on random features, and new ones."""
    random = np.random.default_rng(seed)
    truth = np.arange(12 * classes) % classes
    centres = random.normal(size=(classes, dimension))
    features = (centres[truth] + random.normal(size=(len(truth), dimension))) * spread
    pipeline = make_pipeline(StandardScaler(), svm or SVC(break_ties=True))
    new = random.normal(size=(60, dimension)) * 2 * spread
    return pipeline.fit(features.astype(np.float32), truth), new.astype(np.float32)


def document(classes: int = 3, svm: Any = None) -> dict[str, Any]:
    """What `pack` pickles."""
    pipeline, _ = fitted(classes, 4, svm=svm)
    return joblib.load(io.BytesIO(pack(pipeline, list("abcdefgh")[:classes], "f00d", 4)))  # type: ignore[no-any-return]


def written(content: Any) -> bytes:
    """A joblib file with a seal, as anybody can make one."""
    file = io.BytesIO()
    joblib.dump(content, file)
    return seal(file.getvalue(), PICKLE)


def svm_of(kernel: str, penalty: float, weights: str | None) -> Any:
    """An SVM that is not yet fitted; that of many images if ``kernel`` is "blocks"."""
    if kernel == "blocks":
        return LinearSVM(penalty, weights)
    return SVC(kernel=kernel, C=penalty, break_ties=True, class_weight=weights)


@settings(max_examples=40)
@given(
    classes=st.integers(2, 6),
    dimension=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    svm=st.builds(
        svm_of,
        st.sampled_from(["rbf", "linear", "blocks"]),
        st.sampled_from([0.01, 1.0, 100.0]),
        st.sampled_from([None, "balanced"]),
    ),
    spread=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_labels_and_scores_are_those_of_scikit_learn(
    classes: int, dimension: int, seed: int, svm: Any, spread: float
) -> None:
    pipeline, new = fitted(classes, dimension, seed, svm, spread)
    found = read(pack(pipeline, list("abcdefgh")[:classes], "f00d", dimension), HERE)
    labels, _ = found.classify(new)
    expected = pipeline.decision_function(new)
    scores = found.scores(new)
    assert labels.tolist() == [found.classes[code] for code in pipeline.predict(new)]
    own = scores[:, 1] if classes == 2 else scores
    assert np.abs(own - expected).max() <= 1e-6 * np.abs(expected).max(initial=1)


def test_scores_of_many_rows_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, new = fitted(4, 5)
    svm = read(pack(pipeline, list("abcd"), "f00d", 5), HERE)
    whole = svm.scores(new)
    monkeypatch.setattr("boatinfer.models.decision._BLOCK_SIZE", 1)
    assert np.allclose(svm.scores(new), whole, atol=1e-12)
    assert svm.scores(new[:0]).shape == (0, 4)


def test_probabilities_that_all_vanish_are_equal() -> None:
    pipeline, new = fitted(3, 5)
    sigmoids = np.array([[0.0, 0, 0], [2000.0, 2000, 2000]])
    svm = read(pack(pipeline, list("abc"), "f00d", 5, sigmoids), HERE)
    assert np.allclose(svm.scores(new), 1 / 3)


def test_the_largest_features_give_finite_scores() -> None:
    pipeline, _ = fitted(3, 5)
    svm = read(pack(pipeline, list("abc"), "f00d", 5), HERE)
    largest = np.finfo(np.float32).max
    assert np.isfinite(svm.scores(np.array([[largest] * 5, [-largest] * 5], np.float32))).all()


def test_an_array_of_the_other_byte_order_is_read() -> None:
    changed = document()
    scaler = changed["pipeline"][0]
    mean = scaler.mean_.copy()
    scaler.mean_ = scaler.mean_.astype(">f8")
    assert np.allclose(read(written(changed), HERE).mean, mean)


def set_in(step: int, **values: Any) -> Callable[[dict[str, Any]], object]:
    """Changes attributes of a step of the pipeline."""
    return lambda made: made["pipeline"].steps[step][1].__dict__.update(values)


def nested(depth: int = 100_000) -> Any:
    value: Any = ()
    for _ in range(depth):
        value = (value,)
    return value


@pytest.mark.parametrize(
    "spoil",
    [
        set_in(0, mean_=np.full(4, np.nan)),
        set_in(0, mean_=np.full(4, 1e300)),
        set_in(0, scale_=np.zeros(4)),
        set_in(0, scale_=-np.ones(4)),
        set_in(0, scale_=None),
        set_in(0, mean_=np.zeros(4, "M8[s]")),
        set_in(0, mean_=np.zeros(4, complex)),
        set_in(0, mean_=np.array(["a"] * 4)),
        set_in(0, mean_=[0.0] * 4),
        set_in(1, _gamma=-1.0),
        set_in(1, _gamma=np.inf),
        set_in(1, kernel="poly"),
        set_in(1, kernel=3),
        set_in(1, _n_support=np.array([-1, 1, 36])),
        set_in(1, _n_support=np.array([np.inf, 1, 36])),
        set_in(1, _intercept_=np.zeros(2)),
        set_in(1, support_vectors_=np.zeros((0, 4))),
        set_in(1, support_vectors_=LinearSVM()),
        set_in(1, classes_=np.arange(3) + 1),
        lambda made: made.update(pipeline=make_pipeline(StandardScaler())),
        lambda made: made["pipeline"].steps.reverse(),
        lambda made: made.update(sigmoids=np.full((2, 3), np.inf)),
        lambda made: made.update(classes=["a", "a", "b"]),
        lambda made: made.update(classes=["b", "a", "c"]),
        lambda made: made.update(classes=["a", "b", "\ud800"]),
        lambda made: made.update(model=None),
        lambda made: made.update(model="\ud800"),
        lambda made: made.update(dimension=4.0),
        lambda made: made.update(format=True),
    ],
)
def test_values_that_do_not_fit_are_refused(spoil: Callable[[dict[str, Any]], object]) -> None:
    changed = document()
    spoil(changed)
    with pytest.raises(ModelError, match="and is refused: it"):
        read(written(changed), HERE)


def test_what_is_beside_the_point_is_not_looked_at() -> None:
    """scikit-learn may add attributes, and those of a crafted file reach no compiled code."""
    changed = document()
    expected = read(written(changed), HERE).scores(np.ones((1, 4), np.float32))
    set_in(1, _sparse=True, shape_fit_=(9, 9), support_=np.array([10**9] * 5))(changed)
    assert np.array_equal(
        read(written(changed), HERE).scores(np.ones((1, 4), np.float32)), expected
    )


#: Each is what a pickle of protocol 4 may begin with, deep in itself.
DEEP = {
    "tuple": b")" + b"\x85" * 100_000,
    "key": b"})" + b"\x85" * 100_000 + b"K\x01s",
    "list": b"]" * 100_000 + b"a" * 99_999,
    "dict": b"}" + b"\x8c\x01a}" * 100_000 + b"s" * 100_000,
    "marks": b"(" * 100_000 + b"l" * 100_000,
    "kernel": b"}\x8c\x06kernel)" + b"\x85" * 100_000 + b"s",
}


@pytest.mark.parametrize("name", list(DEEP))
def test_deep_nesting_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="and is refused: it"):
        read(seal(b"\x80\x04" + DEEP[name] + b".", PICKLE), HERE)


def test_deep_values_in_a_real_file_are_refused_or_ignored() -> None:
    """In a process of its own, for a mistake would end it."""
    code = (
        "import sys; from pathlib import Path; from boatinfer.errors import ModelError\n"
        "from boatinfer.models.svm import read\n"
        "try: read(sys.stdin.buffer.read(), Path('x')); print('read')\n"
        "except ModelError: print('refused')"
    )
    pickled = written(document())
    for key in (b"kernel", b"gamma", b"classes", b"model", b"steps", b"mean_", b"coef0"):
        place = pickled.index(b"\x8c" + bytes([len(key)]) + key + b"\x94") + len(key) + 3
        deep = pickled[:place] + b")" + b"\x85" * 100_000 + b"\x8c\x01x" + pickled[place:]
        done = subprocess.run(
            [sys.executable, "-c", code], input=seal(deep, PICKLE), check=True, capture_output=True
        )
        assert done.stdout == (b"read\n" if key in {b"gamma", b"coef0"} else b"refused\n")


@pytest.mark.parametrize(
    "bomb",
    [
        b"B\xff\xff\xff\x7f",  # 2 GB of bytes
        b"\x8e" + b"\xff" * 7 + b"\x7f",
        b"X\xff\xff\xff\xff",
        b"\x8d" + b"\xff" * 7 + b"\x7f",
        b"\x8b\xff\xff\xff\x7f",
        b"\x95" + b"\xff" * 7 + b"\x7f",
        b"I" + b"9" * 100_000 + b"\n",
        b"](" + b"h\x00" * 1000 + b"e",
        b"\x80\x04r\xff\xff\xff\x7f",  # a place in the memo, in front of all others
        b"(\x8c\x01a\x8c\x01b1o",
        b"cos\nsystem\n(S'true'\ntR",
        b"\x82\x01",
        b"P1\n",
        b"Q",
    ],
)
def test_bombs_take_no_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="and is refused: it"):
            read(seal(b"\x80\x04" + bomb + b".", PICKLE), HERE)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(2**62,), (2**31, 2**31, 4), (-1,), (True,), (2.0,), ((),), 5])
def test_arrays_that_are_larger_than_the_file_are_refused(
    shape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    wrapper = joblib.numpy_pickle.NumpyArrayWrapper(np.ndarray, shape, "C", np.dtype("f8"))
    joblib.dump(wrapper, file)
    with pytest.raises(pickles.RefusedError, match="it holds an array that is not plain"):
        pickles.read(file.getvalue()[:-1] + bytes(100) + b".", set())


@settings(max_examples=200)
@given(data=st.data())
def test_no_changed_byte_does_more_than_be_refused(data: st.DataObject) -> None:
    changed = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        svm = read(seal(bytes(changed), PICKLE), HERE)
    except ModelError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(svm.scores(np.ones((2, 4), np.float32))).all()


WHOLE = written(document())[: -len(PICKLE) - 64]

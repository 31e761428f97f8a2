"""Without any extra, a command that needs one says in a sentence which, and ends with 2.

For an environment of its own: the wheel, and pytest. The tests of other folders have the extras.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from boatinfer import cli

SAMPLES = Path(__file__).parents[2] / "samples"
#: True classes of the photographs, for commands that need some.
CLASSES = ["Gondola", "Water", "Gondola"]
#: What the extras bring.
ABSENT = [
    *(
        "apprise",
        "botocore",
        "joblib",
        "keras",
        "matplotlib",
        "obstore",
        "onnx",
        "ray",
        "scipy",
        "sklearn",
    ),
    *("prometheus_client", "tensorflow", "tf2onnx", "xlsxwriter"),
]

#: Commands, by the extra that each needs; OUT is a results folder, PHOTOS a folder of images, DATA
#: one of labelled images, LABELS a table of labels.
CASES = {
    "analysis": [
        "svm fit OUT --labels LABELS -o new.joblib",
        "svm fit OUT --labels LABELS -o new.joblib --folds 0",
        "svm compare OUT --labels LABELS",
        "evaluate OUT --labels LABELS --html new.html",
        "data audit DATA -o new.csv",
    ],
    "bucket": [
        *(f"run {scheme}://bucket/photos -o new" for scheme in ("s3", "gs", "S3")),
        *(f"run PHOTOS -o {scheme}://bucket/out" for scheme in ("s3", "gs")),
        "run PHOTOS -o s3://bucket/out --shard 1/2",
        "run PHOTOS -o new -m s3://bucket/model.onnx",
        "run PHOTOS -o new -m gs://bucket/model.onnx --no-isolate",
        "run PHOTOS -o new --from-file s3://bucket/list.txt",
        "run s3://bucket/photos -o s3://bucket/out --features --quiet",
        "classify PHOTO -m s3://bucket/model.onnx",
        "features s3://bucket/out -o new.npz",
        "results s3://bucket/out",
        "results gs://bucket/out",
        "results s3://bucket/out --verify",
        "results s3://bucket/out --finish",
        "report s3://bucket/out",
        "evaluate s3://bucket/out",
        "evaluate gs://bucket/out",
        "similar PHOTO s3://bucket/out",
        "similar s3://bucket/out --pairs PHOTO PHOTO",
        "similar --duplicates s3://bucket/out",
        "similar OTHER OUT -m s3://bucket/model.onnx",
        "compare OUT s3://bucket/out",
        "compare s3://bucket/out OUT",
        "svm fit s3://bucket/out -o new.joblib",
        "svm compare s3://bucket/out",
        "model show s3://bucket/model.onnx",
        "model show gs://bucket/model.onnx",
        "model check s3://bucket/model.onnx",
    ],
    "xlsx": ["run PHOTOS -o new --xlsx", "run PHOTOS -o new --xlsx --shard 1/2"],
    "ray": ["run PHOTOS -o new --engine ray", "run PHOTOS -o new --engine ray --workers 2"],
    "train,export": [
        *(f"train {what} DATA -o new.keras" for what in ("cnn", "boats", "resnet")),
        "train sweep DATA -o new",
        "data download http://127.0.0.1:9/a.zip -o new",
        "export resnet50-imagenet -o new.onnx",
    ],
    "onnx": [
        "model describe PHOTO --golden DATA -o new.onnx",
        "model quantize PHOTO -o new.onnx",
        "svm export PHOTO -o new.onnx",
    ],
}


def call(capsys: pytest.CaptureFixture[str], arguments: Sequence[object]) -> tuple[int, str]:
    """Runs a command; gives its exit code and what it says on standard error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["boatinfer", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, and the results of a run, which needs no extra."""
    folder: Path = tmp_path_factory.mktemp("bare")
    (folder / "photos").mkdir()
    for file in sorted(SAMPLES.glob("*.jpg"))[:3]:
        (folder / "photos" / file.name).write_bytes(file.read_bytes())
        for split in ("train", "valid"):
            shutil.copytree(folder / "photos", folder / "data" / split / file.stem)
    names = [file.name for file in sorted((folder / "photos").iterdir())]
    labels = [f"{name},{boat}" for name, boat in zip(names, CLASSES, strict=True)]
    (folder / "labels.csv").write_text("\n".join(["path,label", *labels]))
    command = [sys.executable, "-m", "boatinfer", "run", "photos", "-o", "out", "--features"]
    subprocess.run([*command, "--quiet"], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("name", ABSENT)
def test_no_extra_is_here(name: str) -> None:
    assert importlib.util.find_spec(name) is None


@pytest.mark.parametrize(
    ("extra", "line"), [(extra, line) for extra, lines in CASES.items() for line in lines]
)
def test_a_missing_extra_is_one_sentence(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    extra: str,
    line: str,
) -> None:
    monkeypatch.chdir(folder)
    names = {
        "PHOTO": str(next((folder / "photos").iterdir())),
        "DATA": str(folder / "data"),
        "OTHER": str(sorted(SAMPLES.glob("*.jpg"))[-1]),
        "PHOTOS": str(folder / "photos"),
        "OUT": str(folder / "out"),
        "LABELS": str(folder / "labels.csv"),
    }
    code, said = call(capsys, [names.get(word, word) for word in line.split()])
    assert code == 2, said
    assert re.fullmatch(r"boatinfer: .*needs \w+, which is not installed; .*\.\n", said), said
    assert f"run pip install 'boatinfer[{extra}]'" in said
    assert not list(folder.glob("new*"))


def test_figures_need_no_extra(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for line in [
        "evaluate out --labels labels.csv --target-accuracy 0.5",
        "compare out out --html compared.html",
        "similar --duplicates out",
    ]:
        code, said = call(capsys, line.split())
        assert (code, said) == (0, ""), line

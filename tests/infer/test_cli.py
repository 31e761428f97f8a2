from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

import boatinfer as package
import colours
from boatinfer import __main__ as entry
from boatinfer import cli, progress
from boatinfer.cli import commands, models
from boatinfer.errors import install_hint
from boatinfer.models.card import Golden, GoldenImage, Training, decode_card
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from support import Command, rows

HEAVY = ["onnxruntime", "pyarrow", "sklearn", "matplotlib", "tensorflow", "keras", "scipy"]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "boatinfer", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "boatinfer" in loaded
    assert not loaded & set(HEAVY)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, boatinfer; print(sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pyarrow_does_not_load_pandas(pictures: Path, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise SystemExit('pandas was loaded')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    for command in (["run", str(pictures), "-m", str(model_file), "-o"], ["results"]):
        arguments = [sys.executable, "-m", "boatinfer", *command, str(tmp_path / "out")]
        subprocess.run(arguments, env=environment, check=True, stdout=subprocess.DEVNULL)


def test_who_asks_for_pandas_still_gets_it() -> None:
    code = """
from boatinfer.cli.pandas import without_pandas
from pyarrow import array

import sys
without_pandas(lambda: print("pandas" in sys.modules))()
print(array([1, None]).to_pandas().isna().sum())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n1\n"


def test_an_interrupt_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("boatinfer.cli.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "boatinfer: interrupted.\n"


def test_the_public_names_are_there() -> None:
    command = [sys.executable, "-c", "import boatinfer; print(*dir(boatinfer))"]
    named = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(package.__all__) <= set(named)
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError):
        _ = package.nothing_of_the_kind


def test_version(boatinfer: Command) -> None:
    assert boatinfer("--version").out == f"boatinfer {package.__version__}\n"


def test_help_names_every_command(boatinfer: Command) -> None:
    said = boatinfer("--help").out
    for command in ["run", "classify", "features", "model", "svm", "train", "export"]:
        assert f" {command} " in said


def paths_of_commands(command: Any, parent: Any = None, name: str = "boatinfer") -> list[list[str]]:
    """The names that lead to each command, such as ``["model", "show"]``."""
    context = typer.Context(command, parent=parent, info_name=name)
    if not hasattr(command, "list_commands"):
        return [[]]
    return [
        [inner, *path]
        for inner in command.list_commands(context)
        for path in paths_of_commands(command.get_command(context, inner), context, inner)
    ]


def test_help_shows_no_types_of_the_source(boatinfer: Command) -> None:
    paths = paths_of_commands(get_command(cli.app))
    assert ["run"] in paths
    assert ["model", "describe"] in paths
    assert ["train", "cnn"] in paths
    for path in paths:
        said = boatinfer(*path, "--help").out
        assert "Usage: " in said
        # Choices such as <rbf|linear> and the <class> of folders are meant for people.
        assert set(re.findall(r"<\w+>", said)) <= {"<class>"}, path


def test_run_prints_what_it_did(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    (pictures / "bad.jpg").write_text("hello")
    options = ("run", pictures, "-o", tmp_path / "out", "-m", model_file)
    done = boatinfer(*options, "--max-failures", "1")
    assert done.code == 0
    assert done.out.startswith("13 images found = 12 classified + 0 reused + 1 failed in ")
    assert "        4  red\n" in done.out
    assert "        1  failed: not_an_image\n" in done.out
    assert str(tmp_path / "out" / "report.html") in done.out
    (pictures / "empty.jpg").write_text("")
    too_many = boatinfer(*options, "--no-report")
    assert too_many.code == 3
    assert "report.html" not in too_many.out
    assert "\nnew: 1 image = 0 classified + 1 failed; 1 failed before, and again\n" in too_many.out
    assert "\n   images       new\n" in too_many.out
    assert "1 of 1 new image failed, more than --max-failures 5% allows" in too_many.err


def test_a_folder_that_cannot_be_listed_has_not_failed_before(
    boatinfer: Command,
    pictures: Path,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opening = os.open

    def refuse(path: Any, *flags: int) -> int:
        if str(path).endswith("green"):  # the superuser may open every folder
            raise PermissionError(13, "Permission denied")
        return opening(path, *flags)

    monkeypatch.setattr("boatinfer.storage.listing.os.open", refuse)
    done = boatinfer("run", pictures, "-o", tmp_path / "out", "-m", model_file)
    assert done.code == 8
    said = "\nnew: 8 images = 8 classified + 0 failed; 1 folder could not be listed\n"
    assert said in done.out
    assert "failed before" not in done.out


def test_review_csv_is_named_if_it_has_rows(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    for limit, named in ((0.0, False), (1.0, True)):
        out = tmp_path / str(limit)
        done = boatinfer("run", pictures, "-o", out, "-m", model_file, "--min-confidence", limit)
        assert done.code == 0, done.err
        assert ("to review:" in done.out) == named
        assert bool(rows(out, "review.csv")) == named


def test_quiet_prints_nothing_but_errors(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    done = boatinfer("run", pictures, "-o", tmp_path / "out", "-m", model_file, "--quiet")
    assert done == (0, "", "")


def test_defaults_are_told(boatinfer: Command) -> None:
    said = " ".join(boatinfer("run", "-h").out.replace("│", " ").split())
    assert "boatinfer-out/ and the name of DIR" in said
    assert "[default: 5%]" in said


def test_an_empty_argument_is_a_variable_that_is_not_set(boatinfer: Command) -> None:
    done = boatinfer("run", "")
    assert (done.code, done.err) == (
        2,
        "boatinfer: an argument is empty; is a variable not set?\n",
    )


def test_results_says_what_is_there_and_what_is_damaged(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    boatinfer("run", pictures, "-o", out, "-m", model_file, "--features")
    done = boatinfer("results", out, "--verify")
    assert done.code == 0
    for said in ["12 ever recorded, 12 of them", "features    12 images", "1 file,", "verified"]:
        assert said in done.out
    (part,) = (out / "parts").iterdir()
    content = bytearray(part.read_bytes())
    content[len(content) // 4] ^= 255
    part.write_bytes(content)
    done = boatinfer("results", out, "--verify")
    assert (done.code, done.out) == (7, "")
    assert part.name in done.err
    part.unlink()
    done = boatinfer("results", out, "--verify")
    assert (done.code, "parts are missing" in done.err) == (7, True)
    assert boatinfer("results", pictures).code == 2


def test_a_closed_standard_error_does_not_matter(
    pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    command = f"{sys.executable} -m boatinfer run {pictures} -o {tmp_path}/out -m {model_file} 2>&-"
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)


def test_a_folder_is_for_run(boatinfer: Command, pictures: Path, model_file: Path) -> None:
    assert "boatinfer run" in boatinfer("classify", pictures, "-m", model_file).err


def test_run_json(boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path) -> None:
    done = boatinfer("run", pictures, "-o", tmp_path / "out", "-m", model_file, "--json")
    assert done.out == (tmp_path / "out" / "run.json").read_text()
    assert json.loads(done.out)["found"] == 12


def test_errors_are_one_sentence_and_their_exit_code(
    boatinfer: Command, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty").mkdir()
    for arguments, code, said in [
        (("run", tmp_path / "nowhere"), 2, "does not exist"),
        (("run", tmp_path / "empty"), 2, "holds no image files"),
        (("run", pictures, "-m", tmp_path / "text.onnx"), 4, "is no ONNX file"),
        (("run", pictures, "--max-failures", "many"), 2, "--max-failures"),
        (("features", tmp_path / "empty", "-o", tmp_path / "x.npz"), 2, "holds no results"),
        (("svm", "fit", tmp_path / "empty"), 2, "holds no results"),
        (("model", "show", tmp_path / "none.onnx"), 4, "cannot be read"),
        (("classify", pictures, "-m", tmp_path / "none.onnx"), 4, "cannot be read"),
    ]:
        done = boatinfer(*arguments)
        assert (done.code, done.out) == (code, "")
        assert said in done.err
        assert done.err.startswith("boatinfer: ")
        assert done.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["run"], ["run", "x", "--top", "0"], ["sail"], ["model"]])
def test_wrong_usage_is_exit_code_2(boatinfer: Command, arguments: list[str]) -> None:
    assert boatinfer(*arguments).code == 2


def test_all_missing_options_are_named_at_once(boatinfer: Command) -> None:
    done = boatinfer("similar")
    assert done.code == 2
    for name in ("IMAGE", "OUT"):
        assert name in done.err


def test_classify_prints_the_best_classes(
    boatinfer: Command, pictures: Path, model_file: Path
) -> None:
    path = pictures / "green" / "000.jpg"
    done = boatinfer("classify", path, "-m", model_file, "--top", 2)
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[0] == str(path)
    assert lines[1].endswith("%  green")
    assert len(lines) == 3


def test_classify_goes_on_after_a_broken_picture(
    boatinfer: Command, pictures: Path, model_file: Path
) -> None:
    (pictures / "bad.jpg").write_text("hello")
    good = pictures / "red" / "000.jpg"
    done = boatinfer("classify", pictures / "bad.jpg", good, "-m", model_file)
    assert done.code == 3
    assert "bad.jpg: no known image format" in done.err
    assert done.out.startswith(f"{good}\n")


def test_features_and_svm_from_the_command_line(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    out, svm = tmp_path / "out", tmp_path / "svm.joblib"
    assert boatinfer("run", pictures, "-o", out, "-m", model_file, "--features").code == 0
    assert "12 images" in boatinfer("features", out, "-o", tmp_path / "x.npz").out
    fitted = boatinfer("svm", "fit", out, "-o", svm, "--C", 2).out
    assert "12 images of 3 classes" in fitted
    assert "if it was trained on these images, the accuracy is too high" in fitted
    done = boatinfer("run", pictures, "-o", out, "-m", model_file, "--svm", svm)
    assert done.out.startswith("12 images found = 0 classified + 12 reused")


def test_model_show_prints_the_card(boatinfer: Command, tmp_path: Path) -> None:
    training = Training("f00d", counts={"train": 9}, metrics={"f1": 0.5}, versions={})
    card = colours.card(notes="for tests", training=training)
    file = colours.write_model(tmp_path / "m.onnx", card=card)
    done = boatinfer("model", "show", file)
    for said in [
        f"{file.stat().st_size:,} bytes, its seal is intact",
        hashlib.sha256(file.read_bytes()).hexdigest(),
        "3: red, green, blue",
        "stretched to 12 x 40 pixels (area)",
        "uint8 NHWC RGB, any number of images; pixels as they are",
        "for tests",
        "on 3 golden images",
        "f00d",
        "0.500",
    ]:
        assert said in done.out
    printed = boatinfer("model", "show", file, "--json").out
    assert decode_card(printed, "here") == card
    assert printed.startswith('{\n  "')


def test_model_show_tells_of_the_svm_and_cuts_long_lists(
    boatinfer: Command, tmp_path: Path
) -> None:
    both = colours.write_model_with_svm(tmp_path / "both.onnx")
    said = boatinfer("model", "show", both).out
    assert "svm         linear, on the features; 3: no red, no green, no blue" in said
    assert models._names([f"c{i}" for i in range(1000)]).startswith("1,000: c0, c1, ")
    assert "c30," not in models._names([f"c{i}" for i in range(1000)])


def test_model_check_says_difference_tolerance_and_device(
    boatinfer: Command, model_file: Path
) -> None:
    done = boatinfer("model", "check", model_file, "--device", "cpu")
    assert done.code == 0
    first, second = done.out.splitlines()
    assert first == f"{model_file} is whole, and passed its self-test on cpu"
    found = re.fullmatch(r"largest difference (\S+), tolerance 0\.001, on 3 golden images", second)
    assert found is not None
    assert 0 <= float(found[1]) < 1e-5


def test_model_check_fails_with_code_4(boatinfer: Command, tmp_path: Path) -> None:
    wrong = [GoldenImage(image.image, [1.0, 0.0, 0.0]) for image in colours.golden().images]
    file = colours.write_model(tmp_path / "m.onnx", golden=Golden(images=wrong))
    done = boatinfer("model", "check", file)
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
    assert "failed its self-test on cpu: a golden image's probabilities differ by" in done.err
    assert "more than 0.001" in done.err


@pytest.mark.parametrize("words", [["guess"], ["model", "guess"]])
def test_a_missing_extra_is_the_line_that_brings_it(
    boatinfer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (tmp_path / "needy.py").write_text(
        "import typer\napp = typer.Typer()\n@app.command()\ndef go(): import no_such_library\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint(".".join(words), "needy:app [dreams]", cli.ENTRY_POINTS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([entry]))
    assert words[-1] in boatinfer(*words[:-1], "--help").out
    done = boatinfer(*words)
    assert done.code == 2
    assert f"'boatinfer {' '.join(words)}' needs no_such_library" in done.err
    assert install_hint("dreams") in done.err


def test_a_library_of_the_analysis_is_brought_by_the_smaller_extra(
    boatinfer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    (tmp_path / "needs_more.py").write_text(
        "import typer\napp = typer.Typer()\n@app.command()\ndef go(): import sklearn\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("guess", "needs_more:app [train,export]", cli.ENTRY_POINTS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([entry]))
    done = boatinfer("guess")
    assert done.code == 2
    assert install_hint("analysis") in done.err


def test_a_failed_import_of_ours_is_a_bug_and_not_an_extra(
    boatinfer: Command, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boatinfer.pipeline.run", None)
    with pytest.raises(ModuleNotFoundError):
        boatinfer("run", pictures)


def test_every_option_of_run_is_in_one_panel_of_its_help(boatinfer: Command) -> None:
    listed = [name for names in commands.PANELS.values() for name in names]
    fields = {field.name for field in dataclasses.fields(commands.RunCommand)} - {"folder"}
    assert sorted(listed) == sorted(fields)
    text = boatinfer("run", "--help").out
    places = [text.index(f"─ {panel} ─") for panel in commands.PANELS]
    assert places == sorted(places)
    assert "range>" not in text


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("boatinfer.progress.time.monotonic", lambda: now)
    with progress.display("reading", "images") as update:
        for second in range(1, 181):
            now = float(second)
            update(20 * second, 4000 if second > 15 else None, "3 failed")
    assert capsys.readouterr().err.splitlines() == [
        "reading: 200 images so far, 20 a second, 3 failed",  # after 10 s, 20 more, 40 more
        "reading: 600 of 4,000 images, 15 %, 3 min left, 20 a second, 3 failed",
        "reading: 1,400 of 4,000 images, 35 %, 2 min left, 20 a second, 3 failed",
        "reading: 3,000 of 4,000 images, 75 %, 50 s left, 20 a second, 3 failed",
    ]


def test_a_resumed_download_has_the_speed_of_what_it_adds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("boatinfer.progress.time.monotonic", lambda: now)
    with progress.progress_bar("fetching", 20_000_000, "bytes", done=9_000_000) as advance:
        now = 10.0
        advance(1_000_000)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == ("fetching: 10.0 MB of 20.0 MB, 50 %, 2 min left, 100.0 kB a second")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_progress_is_a_bar(pictures: Path, model_file: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "boatinfer", "run", str(pictures)]
    command += ["-o", str(tmp_path / "out"), "-m", str(model_file)]
    with open(theirs, "wb", 0) as terminal:  # noqa: PTH123
        process = subprocess.Popen(command, stderr=terminal, stdout=subprocess.PIPE)
    said = b""
    with contextlib.suppress(OSError):  # which is how a terminal ends
        while chunk := os.read(ours, 100_000):
            said += chunk
    with process:
        assert process.stdout is not None
        assert b"12 of 12" not in process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    text = said.decode()
    assert "classifying" in text
    assert "12 of 12 images, 100 %" in text
    assert "-:--" not in text  # nor any figure before there is one
    assert " 0 a second" not in text


def test_the_drawing_library_says_nothing_where_it_has_no_home(
    pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(RunOptions(pictures, out, model_file))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MPL", "XDG"))}
    command = [
        sys.executable,
        "-m",
        "boatinfer",
        "evaluate",
        str(out),
        "--html",
        str(tmp_path / "page.html"),
    ]
    environment["HOME"] = "/proc/none"
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_mistyped_name_is_told_before_a_file_that_is_in_the_way(
    boatinfer: Command, tmp_path: Path
) -> None:
    none = tmp_path / "mistyped"
    for command, name in [("fit", "there.joblib"), ("compare", "there.png")]:
        (tmp_path / name).write_text("kept")
        done = boatinfer("svm", command, none, "-o", tmp_path / name)
        assert (done.code, f"there is no folder {none}" in done.err) == (2, True)


def test_a_pattern_that_is_a_folder_gets_a_hint(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    arguments = ("run", pictures, "-o", tmp_path / "out", "-m", model_file, "--include")
    done = boatinfer(*arguments, "red")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "red is a folder: --include 'red/*' takes the images in it." in done.err
    assert "is a folder" not in boatinfer(*arguments, "nothing*").err
    assert "4 images found" in boatinfer(*arguments, "red/*").out


def test_classify_prints_json_lines(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    red, broken = next(pictures.glob("red/*")), tmp_path / "broken.jpg"
    broken.write_text("hello")
    done = boatinfer("classify", red, broken, "-m", model_file, "--json", "--top", 2)
    first, second = (json.loads(line) for line in done.out.splitlines())
    assert (done.code, done.err) == (3, "")
    assert (first["path"], first["status"], first["label"]) == (str(red), "ok", "red")
    assert next(iter(first["probabilities"])) == "red"
    assert len(first["probabilities"]) == 2
    assert (second["status"], second["label"], second["probabilities"]) == (
        "not_an_image",
        None,
        {},
    )
    assert second["message"]


def test_boats_is_the_built_in_model(
    boatinfer: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boats").mkdir()  # a folder of images, say
    image = next(pictures.glob("red/*"))
    named = boatinfer("classify", image, "-m", "boats")
    assert (named.code, named.out) == (0, boatinfer("classify", image).out)
    (tmp_path / "boats").rmdir()
    (tmp_path / "boats").write_text("a file of this name comes first")
    assert boatinfer("classify", image, "-m", "boats").code == 4


def test_help_is_a_command_too(boatinfer: Command) -> None:
    for command in ([], ["run"], ["model"], ["model", "show"]):
        shown = boatinfer("help", *command)
        assert shown.code == 0
        assert shown.out == boatinfer(*command, "--help").out
    for command in (["nothing"], ["run", "nothing"]):
        refused = boatinfer("help", *command)
        assert refused.code == 2
        assert f"there is no command {' '.join(command)}" in refused.err


def test_a_share_is_understood_or_explained(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    given = ("run", pictures, "-o", tmp_path / "out", "-m", model_file, "--no-isolate", "--json")
    for text in ("0.75", "0,75", "75%"):
        done = boatinfer(*given, "--min-confidence", text)
        assert (done.code, json.loads(done.out)["min_confidence"]) == (0, 0.75)
    refused = boatinfer(*given, "--min-confidence", "80")
    assert refused.code == 2
    assert "--min-confidence 80: give a share from 0 to 1 (did you mean 0.8?)" in refused.err
    refused = boatinfer("evaluate", tmp_path / "out", "--target-accuracy", "95")
    assert refused.code == 2
    assert "(did you mean 0.95?)" in refused.err
    assert "much is no share" in boatinfer(*given, "--min-confidence", "much").err


def test_a_shell_completes_commands_and_options(tmp_path: Path) -> None:
    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        environment = os.environ | words | {"_BOATINFER_COMPLETE": "complete_bash"}
        script = tmp_path / "boatinfer"
        script.write_text("from boatinfer.__main__ import main; main()")
        return subprocess.check_output([sys.executable, script], env=environment).decode().split()

    assert completed("boatinfer res") == ["results"]
    assert completed("boatinfer run --min") == ["--min-confidence"]
    assert "show" in completed("boatinfer model ")

"""``night.toml``: what it may hold, and how mistakes in it are told."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.main import get_command

from boatinfer import cli
from boatinfer.errors import UsageError
from boatinfer.models.built_in import BUILT_IN
from boatinfer.night.command import arguments
from boatinfer.night.config import read_night
from boatinfer.night.keep import keep_keys
from boatinfer.night.keys import default_keys, folder_keys, mistake, schedule_keys
from boatinfer.night.metrics import metrics_keys
from boatinfer.night.notify.settings import notify_keys
from boatinfer.night.problems import find_problem
from boatinfer.night.schema import json_schema
from boatinfer.night.template import template
from boatinfer.pipeline.options import RunOptions
from nightly import parsed, write
from support import Command

ONE = '[[folder]]\nname = "a"\ndir = "in"\n'

#: A value of each key that is not its default.
VALUES: dict[str, Any] = {
    "name": "harbour",
    "dir": "in",
    "out": "s3://bucket/out",
    "model": "m.onnx",
    "svm": "s.svm",
    "evaluation": "e.json",
    "from-file": "list.txt",
    "memory": "2G",
    "device": "cpu",
    "engine": "ray",
    "max-failures": "3",
    "shard": "1/2",
    "ray-address": "auto",
    "endpoint": "http://localhost:1",
    "image-timeout": 60.5,
    "max-novelty": 0.9,
    "min-confidence": 0.5,
    "target-accuracy": 0.9,
    "include": ["*.jpg", "with space/*"],
    "exclude": ["-odd"],
    "language": "de",
}


def value(name: str) -> Any:
    """A value of a key; of those that are not listed the type says it."""
    if name in VALUES:
        return VALUES[name]
    key = folder_keys()[name]
    return {"boolean": not key.default, "integer": 3, "string": "text"}[str(key.schema["type"])]


def toml(table: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())


def test_every_option_of_a_run_is_a_key() -> None:
    fields = {field.name.replace("_", "-") for field in dataclasses.fields(RunOptions)}
    assert set(folder_keys()) == fields - {"folder"} | {"name", "dir"}


@pytest.mark.parametrize("name", sorted(set(folder_keys()) - {"name", "dir"}))
@pytest.mark.parametrize("underscores", [False, True])
def test_a_key_reaches_the_command_line_of_the_run(
    name: str, underscores: bool, tmp_path: Path
) -> None:
    with_it = {
        "ray-address": ("engine",),
        "workers": ("engine",),
        "target-accuracy": ("evaluation",),
        "evaluation": ("target-accuracy",),
    }
    table = {key: value(key) for key in ("name", "dir", *with_it.get(name, ()), name)}
    if underscores:
        table = {key.replace("-", "_"): one for key, one in table.items()}
    (folder,) = parsed(tmp_path, f"[[folder]]\n{toml(table)}").folders
    assert getattr(folder.options, folder_keys()[name].field) != folder_keys()[name].default
    assert _as_typer_reads(arguments(folder.options)) == folder.options


def _as_typer_reads(said: list[str]) -> RunOptions:
    """The options that ``boatinfer run`` would take from these arguments."""
    command = get_command(cli.app).commands["run"]  # type: ignore[attr-defined]
    parameters = command.make_context("run", list(said)).params
    names = {field.name for field in dataclasses.fields(RunOptions)}
    values = {name: one for name, one in parameters.items() if name in names}
    return RunOptions(**values | {key: list(values[key]) for key in ("include", "exclude")})


KEYS = {
    **{f"[[folder]].{name}": key for name, key in folder_keys().items()},
    **{f"top.{name}": key for name, key in default_keys().items()},
    **{f"schedule.{name}": key for name, key in schedule_keys().items()},
    **{f"notify.{name}": key for name, key in notify_keys().items()},
    **{f"keep.{name}": key for name, key in keep_keys().items()},
    **{f"metrics.{name}": key for name, key in metrics_keys().items()},
}


def test_no_mistake_is_told_by_a_regular_expression() -> None:
    patterns = [key for key in KEYS.values() if "pattern" in key.schema]
    assert len(patterns) > 4
    for key in patterns:
        said = mistake(key, "-/ ?")
        assert said is not None, key.name
        assert str(key.schema["pattern"]) not in said
        assert said.endswith("not '-/ ?'")


TEMPLATE = template().splitlines()
EXAMPLES = [at for at, line in enumerate(TEMPLATE) if re.match(r"# [a-z-]+ = ", line)]


@pytest.mark.parametrize("at", EXAMPLES, ids=[TEMPLATE[at][2:] for at in EXAMPLES])
def test_every_example_of_the_template_is_accepted(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = list(TEMPLATE)
    name = lines[at][2:].partition(" = ")[0]
    head = next((one for one in reversed(lines[:at]) if re.match(r"(# )?\[", one)), None)
    lines[at] = lines[at][2:]
    shown = {head: head.removeprefix("# ")} if head else {}
    if head == "# [[folder]]":
        shown |= {one: one[2:] for one in lines if one.startswith("#") and "inbox" in one}
    if head == "# [metrics]":
        shown |= {one: one[2:] for one in lines if one.startswith("# file =")}
    with_it = {
        "ray-address": "engine = 'ray'",
        "workers": "engine = 'ray'",
        "target-accuracy": "evaluation = 'e.json'",
        "evaluation": "target-accuracy = 0.9",
    }
    lines = [shown.get(one, one) for one in lines]
    text = "\n".join([with_it.get(name, ""), *lines])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert re.search(rf"^{name} = ", text, re.MULTILINE)
    read_night(write(tmp_path, text))


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/somebody")
    text = 'model = "models/m.onnx"\n[[folder]]\nname = "a"\ndir = "../in"\nsvm = "~/s.svm"\n'
    night = parsed(tmp_path, text)
    (folder,) = night.folders
    assert Path(str(folder.options.folder)) == tmp_path / ".." / "in"
    assert folder.options.model == tmp_path / "models" / "m.onnx"
    assert folder.options.svm == Path("/home/somebody/s.svm")
    assert folder.out == tmp_path / "boatinfer-out" / "a"
    assert night.index == tmp_path / "index.html"


def test_a_folder_may_have_the_built_in_model_instead_of_the_default(tmp_path: Path) -> None:
    text = f'model = "m.onnx"\n{ONE}model = "boats"\n[[folder]]\nname = "b"\ndir = "other"\n'
    first, second = parsed(tmp_path, text).folders
    assert first.options.model in {None, BUILT_IN}
    assert second.options.model == tmp_path / "m.onnx"


def test_a_folder_may_set_its_threshold_in_another_way_than_the_default(tmp_path: Path) -> None:
    text = f'min-confidence = 0.5\n{ONE}target-accuracy = 0.9\nevaluation = "e.json"\n'
    (folder,) = parsed(tmp_path, text).folders
    assert (folder.options.min_confidence, folder.options.target_accuracy) == (None, 0.9)


#: Files with a mistake: the line that is named, and what the sentence says.
MISTAKES = {
    "unknown key": (f"{ONE}modle = 'x'", 4, "there is no key modle here; did you mean model?"),
    "unknown default": (f"bacth-size = 3\n{ONE}", 1, "did you mean batch-size?"),
    "folders": ("[folders]\nname = 'a'", 1, "did you mean [[folder]]?"),
    "a language": (f"language = 'dee'\n{ONE}", 1, "not 'dee'; did you mean de?"),
    "unknown table": (f"{ONE}[schedul]\nat = '02:00'", 4, "did you mean schedule?"),
    "later table": (f"{ONE}[weather]\nfair = 'x'", 4, "there is no table [weather] here"),
    "unknown key of the schedule": (f"{ONE}[schedule]\natt = '1'", 5, "did you mean at?"),
    "out as a default": (f"out = 'x'\n{ONE}", 1, "there is no key out here"),
    "newer": (f"\nformat = 2\nsomething-new = 1\n{ONE}", 2, "of a newer version of boatinfer"),
    "no folder": ("top = 1", 1, "there is no [[folder]]"),
    "one bracket": ("[folder]\nname = 'a'", 1, "write [[folder]]"),
    "no name": ("[[folder]]\ndir = 'x'", 1, "this folder has no name"),
    "no dir": (f"{ONE}[[folder]]\nname = 'b'", 4, "this folder has no dir"),
    "name twice": (f"{ONE}[[folder]]\nname = 'a'\ndir = 'y'", 5, "stands on line 2 too"),
    "name with a slash": ("[[folder]]\nname = 'a/b'\ndir = 'x'", 2, "name must not contain /"),
    "text for a number": (f"{ONE}top = '3'", 4, "top must be a whole number"),
    "true for a number": (f"{ONE}top = true", 4, "top must be a whole number"),
    "number for true": (f"{ONE}features = 1", 4, "features must be true or false"),
    "text for a list": (f"{ONE}include = '*.jpg'", 4, "include must be a list in brackets"),
    "a list of numbers": (f"{ONE}include = [1]", 4, "a list, each of it text in quotes"),
    "too much": (f"{ONE}top = 11", 4, "top must be at most 10, not 11"),
    "too little": (f"{ONE}threads = 0", 4, "threads must be at least 1, not 0"),
    "no device": (f"{ONE}device = 'gpu'", 4, "device must be one of auto, cpu, cuda"),
    "no size": (f"{ONE}memory = 'much'", 4, "--memory much: give bytes or a size"),
    "a bad default": (f"shard = '5/3'\n{ONE}", 1, "5/3"),
    "no scheme": ("[[folder]]\nname = 'a'\ndir = 'ftp://x/y'", 3, "a URI must begin with"),
    "standard input": (f"{ONE}from-file = '-'", 4, "a night has no standard input"),
    "twice": (f"{ONE}batch-size = 1\nbatch_size = 2", 5, "batch-size is given twice"),
    "time": (f"{ONE}[schedule]\nat = '24:00'", 5, "a time such as 02:00, not '24:00'"),
    "day": (f"{ONE}[schedule]\ndays = ['monday']", 5, "not 'monday'; did you mean mon?"),
    "memory": (f"{ONE}[schedule]\nmemory = '2 GB'", 5, "a size such as 8G or 75%"),
    "no table": (f"notify = 3\n{ONE}", 1, "notify must be a table; write [notify] above it"),
    "no file of metrics": (f"{ONE}[metrics]", 4, "this table has no file"),
    "a wrong file of metrics": (
        f"{ONE}[metrics]\nfile = 'x.txt'",
        5,
        "file must end in .prom, not 'x.txt'",
    ),
    "no such time": (f"{ONE}[folder.notify]\nwhen = 'never'", 5, "one of failure, unusual"),
    "no TOML": (f"{ONE}top = = 1", 4, "this is not valid TOML"),
    "one out": (
        f"{ONE}out = 'o'\n[[folder]]\nname = 'b'\ndir = 'y'\nout = './o'",
        4,
        "a and b (",
    ),
    "out in another's dir": (
        f"{ONE}[[folder]]\nname = 'b'\ndir = 'y'\nout = 'in/results'",
        7,
        "is inside the dir of a",
    ),
    "out in another's out": (
        f"{ONE}out = 's3://bucket/o'\n[[folder]]\nname = 'b'\ndir = 'y'\nout = 's3://bucket/o/p'",
        8,
        "is inside the out of a",
    ),
}


@pytest.mark.parametrize(("text", "line", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_line(
    text: str, line: int, said: str, tmp_path: Path, boatinfer: Command
) -> None:
    file = write(tmp_path, text)
    for command in ("run", "plan", "status", "install"):
        ended = boatinfer("night", command, "-c", file)
        assert ended.code == 2
        assert ended.err.startswith(f"boatinfer: {file}, line {line}: ")
        assert said in ended.err
        assert ended.err.count("\n") == 1
        assert ended.out == ""
    assert os.listdir(tmp_path) == ["night.toml"]  # noqa: PTH208


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="boatinfer night init"):
        read_night(tmp_path / "night.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_night(tmp_path / "latin.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_night(tmp_path)


def test_what_keeps_a_folder_from_being_run_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "file").touch()

    def problem(keys: str, dir_: str = "in") -> tuple[int, str]:
        text = f'[[folder]]\nname = "a"\ndir = "{dir_}"\n{keys}'
        found = find_problem(parsed(tmp_path, text).folders[0])
        return (found.exit_code, str(found)) if found else (0, "")

    assert problem("") == (0, "")
    for keys, folder, code, line, said in [
        ("", "gone", 2, 3, "gone does not exist"),
        ("model = 'm.onnx'", "in", 4, 4, "the model"),
        ("top = 1\nsvm = 's.svm'", "in", 4, 5, "the svm"),
        ("from-file = 'list'", "in", 2, 4, "from-file"),
        ("out = 'file/out'", "in", 7, 4, "may not be written to"),
    ]:
        told = problem(keys, folder)
        assert told[0] == code
        assert told[1].startswith(f"{tmp_path / 'night.toml'}, line {line}: ")
        assert said in told[1]
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert problem("out = 'new'")[0] == 7


def test_the_file_of_init_is_one(boatinfer: Command, tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    assert boatinfer("night", "init", "-c", file).code == 0
    assert [folder.name for folder in read_night(file).folders] == ["photos"]
    schema = json.loads((tmp_path / "night.schema.json").read_text())
    assert schema == json.loads(boatinfer("night", "schema").out)
    assert file.read_text().startswith("#:schema ./night.schema.json\n")
    ended = boatinfer("night", "init", "-c", file)
    assert (ended.code, ended.err.count("exists already")) == (2, 1)


def test_init_shows_every_key_as_it_may_be_written() -> None:
    text = template()
    shown = set()
    for line in text.splitlines():
        name, equals, given = line.removeprefix("# ").partition(" = ")
        if equals and name in folder_keys() and given != '"..."':
            jsonschema.validate(
                tomllib.loads(f"x = {given}")["x"], dict(folder_keys()[name].schema)
            )
        shown.add(name)
    assert set(folder_keys()) <= shown


def test_the_schema_takes_what_the_program_takes(tmp_path: Path) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    table = {name: value(name) for name in folder_keys()}
    told: dict[str, Any] = {"webhooks": ["file:x"], "ping": "${X}", "when": "always"}
    jsonschema.validate({"format": 1, "folder": [table | {"notify": told}]}, schema)
    more = {"notify": told | {"timeout": 3, "apprise": []}, "metrics": {"file": "x.prom"}}
    jsonschema.validate({"format": 1, "folder": [table], **more}, schema)
    jsonschema.validate(tomllib.loads(template()), schema)
    assert schema["properties"]["folder"]["items"]["properties"]["top"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10,
        "default": 2,
        "description": "Number of classes per image in predictions.csv, the most probable first.",
    }


#: Mistakes that a schema cannot see, since they are in what values mean together or in the system.
BEYOND = {
    *("name twice", "no size", "a bad default", "no scheme", "standard input", "twice", "memory"),
    *("no TOML", "one out", "out in another's dir", "out in another's out"),
}


@pytest.mark.parametrize("name", sorted(set(MISTAKES) - BEYOND))
def test_the_schema_refuses_what_the_program_refuses(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(MISTAKES[name][0]), json_schema())

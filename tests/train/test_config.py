from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import typer

from boatinfer.cli.fields import from_fields
from boatinfer.errors import UsageError
from boattrain.cli import CnnCommand
from boattrain.config import to_toml
from boattrain.options import CnnOptions
from support import Command


def parse(*arguments: object) -> CnnCommand:
    """What the command line makes of its arguments."""
    parsed: list[CnnCommand] = []
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(from_fields(CnnCommand, parsed.append))
    app(list(map(str, arguments)), standalone_mode=False, prog_name="cnn")
    return parsed[0]


def write(folder: Path, text: str) -> Path:
    path = folder / "train.toml"
    path.write_text(text)
    return path


def test_the_file_gives_what_no_flag_gives(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        'data = "boats"\nepochs = 3\nbatch-size = 8\nflip = true\nshift = 0.1\npatience = 4\n'
        'schedule = "cosine"\ncache = "there"\n',
    )
    options = parse("--config", config, "--epochs", 7, "--no-flip")
    assert (options.data, options.batch_size, options.shift) == (Path("boats"), 8, 0.1)
    assert (options.patience, options.schedule, options.cache) == (4, "cosine", Path("there"))
    assert (options.epochs, options.flip) == (7, False)
    assert options.learning_rate == CnnOptions(Path("boats")).learning_rate
    assert parse("other", "--config", config).data == Path("other")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    options = CnnOptions(
        Path("bo ats"),
        Path('a"b.keras'),
        epochs=3,
        patience=2,
        flip=True,
        mixup=0.2,
        class_weights="balanced",
        cache=tmp_path,
        resume=True,
    )
    text = to_toml(options, "train cnn")
    assert "boatinfer train cnn --force --config" in text.splitlines()[0]
    again = parse("--config", write(tmp_path, text))
    values = {name: getattr(again, name) for name in CnnOptions.__dataclass_fields__}
    assert values == {**options.__dict__, "resume": False}
    assert "config" not in tomllib.loads(text)


def test_the_file_of_another_training_is_refused(tmp_path: Path) -> None:
    config = write(tmp_path, to_toml(CnnOptions(Path("boats")), "train boats"))
    with pytest.raises(UsageError, match=r"is for 'boatinfer train boats', not for 'train cnn'"):
        parse("--config", config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "this command has no option epoch; did you mean epochs?"),
        ("Batch_Size = 3", "this command has no option Batch-Size; did you mean batch-size?"),
        ("xyzzy = 1", "this command has no option xyzzy; its options are average, batch-size, "),
        ("resume = true", "this command has no option resume; "),
        ("epochs = [1]", "epochs must be a string, a number, true or false"),
        ("[epochs]\na = 1", "epochs must be a string, a number, true or false"),
        ("epochs", "is not valid TOML: "),
        ("\udce9", "is not valid TOML: "),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=r"train\.toml") as raised:
        parse("data", "--config", tmp_path / "train.toml")
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ['epochs = "many"', "epochs = 0", 'optimizer = "best"'])
def test_a_value_that_a_flag_would_not_take(tmp_path: Path, boatinfer: Command, text: str) -> None:
    done = boatinfer("train", "cnn", tmp_path, "--config", write(tmp_path, text))
    assert done.code == 2
    assert f"--{text.split(maxsplit=1)[0]}" in done.err


def test_no_such_file(tmp_path: Path, boatinfer: Command) -> None:
    done = boatinfer("train", "cnn", tmp_path, "--config", tmp_path / "none.toml")
    assert done.code == 2
    assert done.err.startswith(f"boatinfer: --config {tmp_path / 'none.toml'} cannot be read: No ")


def test_options_are_checked_from_python_too() -> None:
    for options, message in [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"shift": 0.6}, "shift must be at most 0.5, not 0.6"),
        ({"optimizer": "best"}, "optimizer must be adam or adamw or sgd, not best"),
        ({"learning_rate": float("nan")}, "learning_rate must be at least"),
    ]:
        with pytest.raises(UsageError, match=message):
            CnnOptions(Path("data"), **options)  # type: ignore[arg-type]

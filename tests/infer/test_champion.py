"""Models of a results folder: promotion, the way back, and the log."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import colours
from boatinfer.dataset.held_back import in_sample
from boatinfer.results.folder import Results
from boatinfer.results.labels import LABELS, Answer, LabelFile
from champions import Scene, fails
from support import drawing

DOCUMENT = Path(__file__).parents[2] / "docs" / "champion.md"

#: The tables, and the notes on which run they are of.
STATE = ("predictions.csv", "predictions.parquet", "failures.csv", "run.json", "report.html")


def state(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in STATE}


def test_a_better_model_is_promoted_runs_and_is_rolled_back(
    scene: Scene, inferred: list[int]
) -> None:
    scene.night(model=scene.worse)
    scene.label()
    before = state(scene.out)
    done = scene.models("add", scene.good)
    digest = scene.registry.models[0].file
    assert done.out == f"added: colours ({digest[:12]})\n"

    done = scene.models("promote", "colours", "--name", "Ada")
    assert (done.code, done.err) == (0, "")
    assert "24 held-back images; McNemar's exact test: p = 3.1e-05" in done.out
    assert re.search(r"in service +8 +0\.333", done.out)
    assert state(scene.out) == before

    new = scene.night(model=None)
    assert (new.model, new.classified) == (digest, 24)
    assert scene.labels()["blue/000.jpg"] == "blue"

    done = scene.models("rollback", "--reason", "a test")
    assert done.out.splitlines()[0].startswith("in service: worse (")
    assert done.out.splitlines()[1] == "the tables are those of before the promotion"
    assert state(scene.out) == before
    assert scene.boatinfer("results", scene.out, "--verify").code == 0
    assert scene.boatinfer("evaluate", scene.out).code == 0
    inferred.clear()
    again = scene.night(model=None)
    assert (again.model_name, again.classified, again.reused) == ("worse", 0, 24)
    assert inferred == [3]  # the self-test


def test_the_tables_of_a_run_without_new_images_come_back_with_the_next_run(scene: Scene) -> None:
    scene.night(model=scene.worse)
    scene.night(model=scene.worse)
    before = (scene.out / "predictions.csv").read_bytes()
    scene.promote_anyway(scene.good)
    scene.night(model=None)
    assert (scene.out / "predictions.csv").read_bytes() != before
    assert scene.models("rollback").code == 0
    scene.night(model=None)
    assert (scene.out / "predictions.csv").read_bytes() == before


def test_rows_that_were_merged_meanwhile_are_found_after_a_rollback(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.night(model=scene.worse)
    scene.promote_anyway(scene.good)
    monkeypatch.setattr("boatinfer.results.store.compaction.MANY_PARTS", 2)
    first = Results(scene.out).parts.files()
    scene.night(model=None)
    assert not set(first) & set(Results(scene.out).parts.files())
    assert scene.models("rollback").code == 0
    assert scene.boatinfer("results", scene.out, "--verify").code == 0
    assert Results(scene.out).current().num_rows == 24


def test_a_worse_model_is_refused_or_forced_with_a_reason_that_is_logged(scene: Scene) -> None:
    scene.night()
    scene.label()
    scene.models("add", scene.worse)
    fails(
        scene.models("promote", "worse"),
        *(2, "of 24 held-back images it gets 8 right, and the model in service 24"),
        *("McNemar's exact test: p = 3.1e-05", "of 8 images of blue it gets 0 right"),
    )
    fails(scene.models("promote", "worse", "--force"), 2, "--force needs a --reason")
    assert [event.what for event in scene.registry.events] == ["add"]
    done = scene.models("promote", "worse", "--force", "--reason", "only it is allowed")
    assert "against it: of 24 held-back images" in done.out
    event = scene.registry.events[-1]
    assert (event.what, event.forced, event.reason) == ("promote", True, "only it is allowed")
    assert event.figures["right_after"] == 8
    assert event.figures["against"]
    assert event.before is not None
    assert len(event.labels) == 64
    assert "forced: only it is allowed" in scene.models("log").out


def test_a_class_may_not_lose_more_than_stated(scene: Scene, tmp_path: Path) -> None:
    """Green is right before and lost after; red and blue the other way round."""
    old = colours.card(name="old", classes=["blue", "green", "red"])
    new = colours.card(name="new", classes=["red", "x", "blue"])
    scene.night(model=colours.write_model(tmp_path / "old.onnx", card=old))
    scene.label()
    scene.models("add", colours.write_model(tmp_path / "new.onnx", card=new))
    done = scene.models("promote", "new")
    fails(done, 2, "it lacks green", "of 8 images of green it gets 0 right")
    assert "held-back images it gets" not in done.err
    done = scene.models("promote", "new", "--max-loss", "100%")
    fails(done, 2, "it lacks green")
    assert "of green it gets" not in done.err


def test_only_labels_that_no_training_saw_count(scene: Scene) -> None:
    scene.night(model=scene.worse)
    scene.label(reason="unsure")
    scene.models("add", scene.good)
    promote = ("models", "promote", scene.out, "colours")
    fails(scene.boatinfer(*promote), 2, "and it takes 20")
    of_sample = sum(map(in_sample, scene.contents().values()))  # whatever they were asked for
    done = scene.boatinfer(*promote, "--held-back", "0")
    fails(done, 2, f"there are {of_sample} held-back labels")
    done = scene.boatinfer(*promote, "--held-back", "all")
    assert "24 held-back images" in done.out


def test_near_duplicates_of_a_held_back_image_are_held_back(scene: Scene) -> None:
    for seed in range(3):
        (scene.pictures / "red" / f"drawn-{seed}.jpg").write_bytes(drawing(1, quality=80 + seed))
    scene.night(model=scene.worse)
    drawn = [item for item in scene.contents().items() if "drawn" in item[0]]
    reasons = ["rest", "rest", "random"]
    answers = [Answer(*one, "red", reason=why) for one, why in zip(drawn, reasons, strict=True)]
    LabelFile(scene.out).append(answers)
    scene.models("add", scene.good)
    done = scene.models("promote", "colours", "--held-back", "0")
    fails(done, 2, "there are 3 held-back labels")


def test_promote_and_rollback_are_refused_during_a_run(scene: Scene) -> None:
    scene.night()
    scene.models("add", scene.worse)
    with FileLock(scene.out / ".lock"):
        (scene.out / ".holder").write_text("process 7")
        for command in (["promote", scene.out, "worse"], ["rollback", scene.out]):
            fails(scene.boatinfer("models", *command), 6, "is held by process 7")
    (scene.out / ".holder").unlink()
    fails(scene.models("rollback"), 2, "has no model that was in service before")


def test_a_run_that_names_another_model_than_the_one_in_service_is_refused(scene: Scene) -> None:
    scene.night(model=scene.worse)
    scene.promote_anyway(scene.good)
    run = ("run", scene.pictures, "-o", scene.out)
    for option in ([], ["--dry-run"]):
        done = scene.boatinfer(*run, "-m", scene.worse, *option)
        fails(done, 2, "has the model colours (", f"names another, {scene.worse}; leave out -m")
        assert scene.boatinfer(*run, "-m", scene.good, *option).code == 0
        assert scene.boatinfer(*run, *option).code == 0
    toml = scene.out.parent / "night.toml"
    toml.write_text(
        f'[[folder]]\nname = "boats"\ndir = "{scene.pictures}"\nout = "{scene.out}"\n'
        f'model = "{scene.worse}"\n'
    )
    done = scene.boatinfer("night", "plan", "-c", toml)
    assert "line 5" in done.out + done.err
    assert "has the model colours" in done.out + done.err
    done = scene.boatinfer("models", "list", "boats", "-c", toml)
    assert "in service" in done.out


def test_the_log_answers_which_model_was_in_service(scene: Scene) -> None:
    scene.night(model=scene.worse)
    scene.label()
    today = datetime.now().astimezone().date()
    done = scene.models("log", "--at", today)
    assert "none was promoted yet; the run of" in done.out
    assert "was by worse (" in done.out
    scene.models("add", scene.good)
    scene.models("promote", "colours", "--name", "Ada")
    log = scene.out / "models" / "log.jsonl"
    yesterday = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        line["when"] = yesterday
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    scene.models("rollback", "--name", "Bo")

    def said(days: int) -> list[Any]:
        day = today - timedelta(days=days)
        text = scene.models("log", "--at", day).out
        return re.findall(r"  (promoted \w+|rolled back to \w+) .* by (\w+)$", text, re.MULTILINE)

    assert said(20) == []
    assert said(5) == [("promoted colours", "Ada")]
    assert said(0) == [("promoted colours", "Ada"), ("rolled back to worse", "Bo")]
    assert said(-5) == [("rolled back to worse", "Bo")]
    events = json.loads(scene.models("log", "--json").out)
    assert [event["what"] for event in events] == ["add", "add", "promote", "rollback"]
    assert events[2]["figures"]["right_after"] == 24
    fails(scene.models("log", "--at", "spring"), 2, "is no date")
    log.write_text(log.read_text()[:-20])
    fails(scene.models("log"), 7, "log.jsonl, line 4 is damaged")
    done = scene.boatinfer("run", scene.pictures, "-o", scene.out)
    fails(done, 7, "log.jsonl, line 4 is damaged")


def test_labels_of_images_that_are_gone_or_changed_do_not_count(scene: Scene) -> None:
    scene.night(model=scene.worse)
    scene.label()
    (scene.pictures / "red" / "000.jpg").write_bytes(colours.picture("red", seed=90))
    (scene.pictures / "red" / "001.jpg").unlink()
    scene.models("add", scene.good)
    done = scene.models("promote", "colours")
    assert "22 held-back images" in done.out
    assert (scene.out / LABELS).read_text().count("\n") == 25


def test_the_commands_of_the_document(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scene.pictures.rename("photos")
    colours.write_model(tmp_path / "better.onnx", card=colours.card(name="better"))
    scene.out = Path("boatinfer-out/photos")
    scene.worse = scene.worse.rename("current.onnx")
    scene.night(folder="photos", out=scene.out, model=scene.worse)
    scene.label()
    (block,) = re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    for line in block.splitlines():
        done = scene.boatinfer(*shlex.split(line)[1:])
        assert done.code == 0, (line, done.err)
    assert re.search(r"worse +\w{12} .* in service", done.out)

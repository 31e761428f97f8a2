"""Challengers: in the shadow of a run, and those that cannot be compared."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from onnx import helper

import colours
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import CARD_KEY, GOLDEN_KEY, encode
from boatinfer.results.shadow import shadow_rows
from champions import Scene, fails


def test_a_challenger_runs_in_the_shadow_and_the_page_tells_the_difference(scene: Scene) -> None:
    scene.night(model=scene.good)
    scene.models("add", scene.worse)
    done = scene.models("challenge", "worse", "--shadow", "all")
    assert done.out.endswith("classifies 100% of the new images after each run\n")
    before = scene.labels()
    scene.add_picture("green", 70)
    scene.add_picture("red", 71)
    summary = scene.night()
    assert summary.remarks == []
    assert scene.labels() == before | {"green/70.jpg": "green", "red/71.jpg": "red"}
    page = (scene.out / "report.html").read_text()
    section = page[page.index('<h2 id="challenger">') :].partition("</section>")[0]
    assert "has classified 2 new images too" in section
    assert "Same label: 1." in section
    assert re.search(r"<td>green</td><td>blue</td><td class=\"number\">1</td>", section)
    assert 'alt="green, confidence' in section
    assert scene.boatinfer("report", scene.out).code == 0
    assert '<h2 id="challenger">' in (scene.out / "report.html").read_text()
    assert scene.boatinfer("results", scene.out, "--verify").code == 0

    scene.models("challenge", "worse", "--shadow", "0")
    scene.add_picture("red", 72)
    scene.night()
    assert '<h2 id="challenger">' not in (scene.out / "report.html").read_text()


def test_a_share_is_of_the_contents_and_time_has_an_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.night()
    scene.models("add", scene.worse)
    scene.models("challenge", "worse", "--shadow", "40%")
    for seed in range(100, 130):
        scene.add_picture("red", seed)
    found = shadow_rows(scene.out, scene.night().run)
    assert found is not None
    contents = {
        path: content
        for path, content in scene.contents().items()
        if re.search(r"/1\d\d\.jpg", path)
    }
    sampled = {path for path, content in contents.items() if int(content[8:16], 16) < 0.4 * 2**32}
    assert 0 < len(sampled) < 30
    assert set(found["path"].to_pylist()) == sampled

    monkeypatch.setattr("boatinfer.pipeline.shadow._SECONDS", -1000.0)
    monkeypatch.setattr("boatinfer.pipeline.shadow._SHARE", -1.0)
    for seed in range(200, 230):
        scene.add_picture("red", seed)
    summary = scene.night()
    assert summary.exit_code == 0
    assert re.fullmatch(
        r"The challenger worse \(\w+\) classified 0 of \d+ new images; then its time was over\.",
        summary.remarks[0],
    )


def test_a_challenger_that_cannot_run_is_a_remark(scene: Scene) -> None:
    scene.night()
    scene.models("add", scene.worse)
    scene.models("challenge", "worse", "--shadow", "all")
    scene.registry.file_of(scene.registry.models[0]).write_bytes(b"hello")
    scene.add_picture("red", 71)
    summary = scene.night()
    assert (summary.exit_code, summary.complete) == (0, True)
    assert summary.remarks[0].startswith("The challenger did not run: ")
    done = scene.boatinfer("results", scene.out, "--verify")
    assert "is damaged or missing; add it again" in done.err


def test_bad_challengers_are_one_sentence(scene: Scene, tmp_path: Path) -> None:
    scene.night()
    broken = tmp_path / "broken.onnx"
    content = bytearray(scene.good.read_bytes())
    content[100] ^= 1
    broken.write_bytes(content)
    fails(scene.models("add", broken), 4, "has been changed or damaged")
    fails(scene.models("add", tmp_path / "none.onnx"), 4, "cannot be read")
    fails(scene.models("promote", "colours"), 2, "has no model colours; add it")
    fails(scene.models("promote"), 2, "has no challenger")
    assert not (scene.out / "models").exists()

    classes = colours.card(name="classes", classes=["red", "green", "violet"])
    spec = ImageSpec(height=12, width=20)
    scene.models("add", colours.write_model(tmp_path / "c.onnx", card=classes))
    scene.models("add", _other_size(tmp_path / "i.onnx", spec))
    for command in ("challenge", "promote"):
        fails(scene.models(command, "classes"), 2, "it lacks blue, which the model")
        fails(scene.models(command, "input"), 2, "12 x 20 (stretch), not 12 x 40")
    done = scene.models("challenge", "input", "--force", "--reason", "smaller")
    assert done.code == 0
    assert scene.models("list").out.count("challenger, 10%") == 1

    scene.registry.file_of(scene.registry.models[0]).write_bytes(broken.read_bytes())
    fails(scene.models("promote", "classes"), 4, "changed or damaged since it was added")


def _other_size(path: Path, spec: ImageSpec) -> Path:
    """The network for images of another size."""
    model: onnx.ModelProto = colours.graph()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = spec.width
    card = colours.card(name="input", image=spec)
    documents = {CARD_KEY: encode(card), GOLDEN_KEY: encode(colours.golden(spec))}
    helper.set_model_props(model, documents)
    return colours.save(model, path)

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import colours
from boatinfer.pages import page
from boatinfer.pages.charts import Curve, chart
from boatinfer.pages.matrix import Matrix
from boatinfer.results.summary import Summary
from support import Command

Night = Callable[..., Summary]


@pytest.fixture
def out(night: Night, pictures: Path, tmp_path: Path) -> Path:
    """Results of pictures of which one is in a wrong folder, with features."""
    (pictures / "red/000.jpg").rename(pictures / "green/wrong.jpg")
    night(features=True)
    return tmp_path / "out"


def test_the_page_of_an_evaluation_has_its_figures(
    boatinfer: Command, out: Path, tmp_path: Path
) -> None:
    file = tmp_path / "e.html"
    done = boatinfer("evaluate", out, "--html", file)
    assert done.out.endswith(f"page: {file}\n")
    html = file.read_text()
    for said in ["0.9167", "green predicted as red: 1", "green/wrong.jpg", "Macro-F1"]:
        assert said in html
    assert html.count('<svg class="chart" role="img"') == 2
    assert html.count("data:image/jpeg") == 1


def test_the_page_says_what_is_left_to_people_as_the_text_does(
    boatinfer: Command, out: Path, pictures: Path, tmp_path: Path
) -> None:
    model = ["-m", tmp_path / "colours.onnx"]
    boatinfer("run", pictures, "-o", out, *model, "--min-confidence", 1)
    done = boatinfer("evaluate", out, "--target-accuracy", 0.6, "--html", tmp_path / "e.html")
    sentences = done.out.splitlines()[-3:-1]
    assert sentences[0].startswith("Unsure in this run, with a confidence below 1.0000: 12 of 12")
    assert sentences[1].startswith("Target accuracy 0.6: ")
    html = (tmp_path / "e.html").read_text()
    assert all(f"<p>{sentence}</p>" in html for sentence in sentences)


def test_the_page_of_an_svm_has_both(boatinfer: Command, pictures: Path, tmp_path: Path) -> None:
    model = colours.write_model_with_svm(tmp_path / "svm.onnx")
    boatinfer("run", pictures, "-o", tmp_path / "s", "-m", model)
    assert boatinfer("evaluate", tmp_path / "s", "--html", tmp_path / "s.html").code == 0
    html = (tmp_path / "s.html").read_text()
    assert "<h2>Network</h2>" in html
    assert "<h2>SVM</h2>" in html
    assert "no red" in html


def test_json_stays_json(boatinfer: Command, out: Path, tmp_path: Path) -> None:
    file = tmp_path / "e.html"
    done = boatinfer("evaluate", out, "--json", "--html", file)
    assert json.loads(done.out)["network"]["images"] == 12
    assert done.err == f"page: {file}\n"


def test_the_pages_of_similar_images_show_them(
    boatinfer: Command, out: Path, pictures: Path, tmp_path: Path
) -> None:
    file, image = tmp_path / "n.html", pictures / "red/001.jpg"
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(colours.picture("blue", seed=7))
    model = ["-m", tmp_path / "colours.onnx"]
    assert boatinfer("similar", image, out, "-k", 3, "--html", file).code == 0
    assert file.read_text().count("data:image/jpeg") == 1 + 3
    assert boatinfer("similar", outside, out, "-k", 2, "--html", file, *model).code == 0
    assert outside.as_uri() in file.read_text()
    images = [image, pictures / "blue/000.jpg", outside]
    assert boatinfer("similar", out, *images, "--pairs", "--html", file, *model).code == 0
    assert file.read_text().count("data:image/jpeg") == 3
    (pictures / "copy.jpg").write_bytes(image.read_bytes())
    boatinfer("run", pictures, "-o", out, "--features", *model)
    assert boatinfer("similar", out, "--duplicates", "-k", 2, "--html", file).code == 0
    html = file.read_text()
    assert "Files of the same content: 1" in html
    assert html.count("data:image/jpeg") == 2 + 2 * 2


def test_the_page_of_a_comparison_shows_the_disagreements_and_who_is_right(
    boatinfer: Command, out: Path, pictures: Path, tmp_path: Path
) -> None:
    card = colours.card(classes=["green", "red", "blue"])
    other, file = colours.write_model(tmp_path / "o.onnx", card), tmp_path / "c.html"
    boatinfer("run", pictures, "-o", tmp_path / "b", "-m", other)
    assert boatinfer("compare", out, tmp_path / "b", "--html", file).code == 0
    html = file.read_text()
    assert "red in A, green in B: 4" in html
    assert "only A 7, only B 1, neither 0" in html
    assert html.count("data:image/jpeg") == 8
    assert html.count("true class <b>green</b>") == 5  # the true class of each picture is named


@pytest.mark.parametrize(
    ("name", "reason"),
    [("out/predictions.csv", "must end in .html"), ("nowhere/e.html", "does not exist")],
)
def test_a_page_gets_no_name_that_it_should_not_have(
    boatinfer: Command, out: Path, tmp_path: Path, name: str, reason: str
) -> None:
    before = (out / "predictions.csv").read_bytes()
    done = boatinfer("evaluate", out, "--html", tmp_path / name)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err
    assert (out / "predictions.csv").read_bytes() == before


def test_a_folder_is_no_page(boatinfer: Command, out: Path, tmp_path: Path) -> None:
    (tmp_path / "x.html").mkdir()
    assert "is a folder" in boatinfer("evaluate", out, "--html", tmp_path / "x.html").err


def test_a_chart_takes_the_colours_of_the_page() -> None:
    curve = Curve([0, 0.5, 1], [0.1, 0.4, 1], "a curve")
    svg = chart(curve, description='the "curve"', x="from left", y="upwards", points=True)
    assert svg.startswith('<svg class="chart" role="img" aria-label="the &#34;curve&#34;"')
    assert "var(--bar)" in svg
    assert "#0" not in svg
    assert "<style" not in svg
    assert "from left" in svg
    assert svg == chart(curve, description='the "curve"', x="from left", y="upwards", points=True)


def test_of_many_classes_the_most_confused_are_shown() -> None:
    counts = np.diag(np.full(60, 5))
    counts[3, 55] = 2
    names = [f"class {number}" for number in range(60)]
    matrix = Matrix.from_counts(names, counts.tolist(), {("class 3", "class 55"): "pair-1"})
    assert (len(matrix.names), matrix.left_out) == (40, 20)
    row, column = (matrix.names.index(f"class {number}") for number in (3, 55))
    assert matrix.rows[row][column] == (2, 2 / 7, False, "pair-1")
    assert matrix.rows[row][row] == (5, 5 / 7, True, None)


def test_an_address_leads_to_the_file(tmp_path: Path) -> None:
    for name in ["a b.jpg", "50%.jpg", "é#?.jpg"]:
        assert page.address(name, str(tmp_path)) == (tmp_path / name).as_uri()
        assert page.address(str(tmp_path / name), "/elsewhere") == (tmp_path / name).as_uri()
    assert page.address("stray\\xff.jpg", "/a").endswith("/stray%FF.jpg")

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import colours
from boatinfer.errors import ModelError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import (
    CARD_KEY,
    GOLDEN_KEY,
    Decoding,
    Golden,
    GoldenImage,
    InputSpec,
    Outputs,
    decode_card,
    decode_golden,
    encode,
    from_metadata,
)


def documents(**changes: Any) -> dict[str, str]:
    return {CARD_KEY: encode(colours.card(**changes)), GOLDEN_KEY: encode(colours.golden())}


@given(
    classes=st.lists(st.text(min_size=1), min_size=2, unique=True),
    height=st.integers(1, 10_000),
    fit=st.sampled_from(["stretch", "crop", "pad"]),
    notes=st.text(),
)
def test_a_card_survives_being_written_and_read(
    classes: list[str], height: int, fit: Any, notes: str
) -> None:
    card = colours.card(
        classes=classes, notes=notes, image=ImageSpec(height=height, width=7, fit=fit)
    )
    assert decode_card(encode(card), "here") == card


@given(st.lists(st.binary(), min_size=1, max_size=4))
def test_golden_images_survive_byte_for_byte(images: list[bytes]) -> None:
    golden = Golden(images=[GoldenImage(image, [0.25, 0.75]) for image in images])
    assert decode_golden(encode(golden), "here") == golden


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 3}, "format 3"),
        ({"colour": "red"}, "colour"),
        ({"classes": ["one"]}, "classes"),
        ({"classes": ["one", "one"]}, "same name"),
        ({"image": {"height": 0, "width": 8}}, "height"),
        ({"image": {"height": 8, "width": 8, "fit": "squeeze"}}, "squeeze"),
        (
            {"image": {"height": 8, "width": 8, "decode": "full"}},
            "decode: only in cards of format 2",
        ),
        ({"thresholds": [0.5, 0.5, 0.5]}, "thresholds: only in cards of format 2"),
        ({"format": 2, "thresholds": [0.5]}, "as many as classes"),
        ({"format": 2, "image": {"height": 8, "width": 8, "crops": 5}}, "five crops need"),
        (
            {"format": 2, "image": {"height": 8, "width": 8, "shorter_side": 9}},
            "shorter_side needs the fit crop",
        ),
        (
            {"format": 2, "image": {"height": 8, "width": 8, "antialias": False}},
            "area has no variant",
        ),
        ({"outputs": {"features": "f"}}, "exactly one"),
        ({"outputs": {"probabilities": "p", "logits": "l", "features": "f"}}, "exactly one"),
        ({"features": None}, "go together"),
        ({"input": {"name": "image", "scale": 2.0}}, "uint8"),
        ({"input": {"name": "image", "dtype": "float32", "std": [1.0, 0.0, 1.0]}}, "zero"),
        ({"precision": "int4"}, "int4"),
        ({"network": "a" * 63}, "network"),
        ({"network": "A" * 64}, "network"),
        ({"network": "../" + "a" * 61}, "network"),
    ],
)
def test_nonsense_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    document = json.loads(encode(colours.card())) | change
    with pytest.raises(ModelError, match=said) as raised:
        decode_card(json.dumps(document), "model.onnx")
    assert "model.onnx" in str(raised.value)


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be used"):
        decode_card("{", "model.onnx")


def test_metadata_without_a_card_or_golden_images_is_refused() -> None:
    with pytest.raises(ModelError, match="no model card"):
        from_metadata({}, "model.onnx")
    with pytest.raises(ModelError, match="lost its golden images"):
        from_metadata({CARD_KEY: encode(colours.card())}, "model.onnx")


def test_golden_images_of_another_model_are_refused() -> None:
    with pytest.raises(ModelError, match="4 classes"):
        from_metadata(documents(classes=["a", "b", "c", "d"]), "model.onnx")


def test_a_float_input_may_be_normalised_and_outputs_may_be_logits() -> None:
    normalised = InputSpec("x", dtype="float32", scale=1 / 255, mean=(0.5, 0.5, 0.5))
    card = colours.card(input=normalised, outputs=Outputs(logits="logits", features="features"))
    assert decode_card(encode(card), "here").input == normalised


def test_a_card_of_format_1_is_written_as_ever() -> None:
    document = json.loads(encode(colours.card()))
    assert document["format"] == 1
    assert list(document["image"]) == ["height", "width", "resize", "fit", "orientation"]
    assert list(document)[-1] == "network"


def test_a_card_of_format_2_keeps_its_geometry() -> None:
    image = ImageSpec(
        height=8,
        width=9,
        resize="bicubic",
        fit="crop",
        shorter_side=12,
        pad_colour=(1, 2, 3),
        decode="full",
        crops=5,
    )
    decoding = Decoding(3, {"double": 1.0, "scaled": 0.5}, {"double": 0.0, "scaled": 0.1})
    card = colours.card(format=2, image=image, thresholds=[0.1, 0.2, 0.3], decoding=decoding)
    assert card.format == 2
    assert decode_card(encode(card), "here") == card

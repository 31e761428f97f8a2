from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boatinfer
from boatinfer.errors import ModelError
from boatinfer.models.model import open_model
from boatinfer.models.seal import SEAL_KEY, is_sealed, seal, sealed_digest
from support import Command


@given(st.binary(max_size=300), st.integers(0, 10**6), st.integers(1, 255))
def test_any_changed_byte_breaks_or_removes_the_seal(body: bytes, place: int, change: int) -> None:
    changed = bytearray(seal(body))
    changed[place % len(changed)] ^= change
    if is_sealed(bytes(changed)):  # otherwise the model has lost its seal, and is refused for that
        with pytest.raises(ModelError, match="do not fit its seal"):
            sealed_digest(bytes(changed), Path("m.onnx"))
    else:
        assert len(body) <= place % len(changed) < len(body) + 20


@given(st.binary(max_size=300))
def test_a_seal_leaves_the_rest_as_it_is(body: bytes) -> None:
    sealed = seal(body)
    assert sealed.startswith(body)
    assert seal(sealed) == sealed
    assert sealed_digest(sealed, Path("m.onnx")) == hashlib.sha256(sealed).hexdigest()


def test_onnx_reads_a_sealed_file_and_sees_its_seal(model_file: Path) -> None:
    model = onnx.load(model_file)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata[SEAL_KEY] == hashlib.sha256(model_file.read_bytes()[:-84]).hexdigest()


def test_a_flipped_bit_anywhere_in_the_file_is_refused(model_file: Path) -> None:
    whole = model_file.read_bytes()
    for place, bit in itertools.product(range(0, len(whole), len(whole) // 200), (0, 7)):
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        model_file.write_bytes(changed)
        with pytest.raises(ModelError):
            open_model(model_file)


def test_a_run_with_one_changed_weight_ends_with_code_4(
    boatinfer: Command, model_file: Path, pictures: Path, tmp_path: Path
) -> None:
    """Of a weight's last bit no golden image would tell."""
    changed = bytearray(model_file.read_bytes())
    changed[changed.index(b"\x00\x00\x20\x41")] ^= 1  # the ten
    model_file.write_bytes(changed)
    done = boatinfer("run", pictures, "-m", model_file, "-o", tmp_path / "out")
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
    assert "has been changed or damaged" in done.err
    assert not (tmp_path / "out").exists()


def test_a_card_without_a_seal_is_refused(model_file: Path) -> None:
    model_file.write_bytes(model_file.read_bytes()[:-84])
    with pytest.raises(ModelError, match="no seal"):
        open_model(model_file)


def test_a_file_edited_with_onnx_is_refused(model_file: Path) -> None:
    model = onnx.load(model_file)
    model.metadata_props[0].value = model.metadata_props[0].value.replace("red", "reed")
    onnx.save(model, model_file)
    with pytest.raises(ModelError, match="do not fit its seal"):
        open_model(model_file)


def test_the_built_in_model_is_sealed() -> None:
    assert is_sealed(boatinfer.open_model().path.read_bytes())

"""Keys that obstore refuses: what is read of them, and that nothing is written to them."""

from __future__ import annotations

from pathlib import Path

import pytest

import colours
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.errors import StoreMissingError
from boatinfer.storage.locations import place
from s3 import Server
from support import Command, counts, rows


def test_an_image_that_has_gone_has_vanished_whatever_its_key(
    bucket: str, s3: Server, model_file: Path, tmp_path: Path
) -> None:
    for key in ("valid/a//b.jpg", "valid/c.jpg"):
        s3.client.put_object(Bucket=bucket, Key=key, Body=colours.picture("red"))
    s3.misbehaves = lambda method, path: (
        (404, "NoSuchKey") if (method, path) == ("GET", f"/{bucket}/valid/a//b.jpg") else None
    )
    options = RunOptions(place(f"s3://{bucket}/valid"), tmp_path / "out", model_file, isolate=False)
    summary = run(options)
    assert counts(summary) == (2, 1, 0, 1)
    (row,) = rows(tmp_path / "out", "failures.csv")
    assert (row["path"], row["reason"]) == ("a//b.jpg", "vanished")
    assert row["message"] == "there is no such object (any more)"


@pytest.mark.parametrize("key", ["a//b", "a/../b", "tab\t"])
def test_there_is_no_object_of_an_odd_key(bucket: str, key: str) -> None:
    nowhere = BucketPath("s3", bucket, key)
    assert not nowhere.exists()
    for ask in (nowhere.stat, nowhere.read_bytes):
        with pytest.raises(StoreMissingError, match="there is no such object"):
            ask()


@pytest.mark.parametrize("folder", ["a//out", "/out", "a/./out", "a/../out", "a/o\tut"])
def test_results_go_to_no_odd_key(
    bucket: str, s3: Server, pictures: Path, boatinfer: Command, folder: str
) -> None:
    out = f"s3://{bucket}/{folder}"
    for command in [
        ("run", pictures, "-o", out),
        ("results", out, "--finish"),
        ("results", out),
        ("evaluate", out),
        ("report", out),
    ]:
        done = boatinfer(*command)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert "choose another folder" in boatinfer("run", pictures, "-o", out).err
    assert "Contents" not in s3.client.list_objects_v2(Bucket=bucket)

"""Nights over buckets: whole, interrupted, throttled, and with everything that a store refuses."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import colours
from boatinfer.errors import BusyError, OutputError, UsageError, install_hint
from boatinfer.pipeline.merge_shards import finish
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results import locks
from boatinfer.results.folder import Results
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.errors import error_reason
from boatinfer.storage.locations import place
from s3 import Server
from support import Command, counts, outcomes, rows

Night = Callable[..., Summary]


@pytest.fixture
def boats(bucket: str, s3: Server, pictures: Path) -> str:
    """A bucket whose folder valid/ has the pictures, and models/ the model."""
    s3.fill(bucket, pictures, "valid/")
    s3.requests.clear()
    return f"s3://{bucket}"


@pytest.fixture
def far(boats: str, model_file: Path) -> Night:
    """Runs over the bucket's pictures into its folder out/; options may be changed by name."""

    def call(**changes: Any) -> Summary:
        defaults: dict[str, Any] = {
            "folder": f"{boats}/valid",
            "out": f"{boats}/out",
            "model": model_file,
            "isolate": False,  # a process that loads what a bucket needs takes seconds
        }
        return run(RunOptions(**(defaults | changes)))

    return call


def test_a_night_in_a_bucket_is_a_night_on_a_disk(
    far: Night, night: Night, boats: str, s3: Server, tmp_path: Path
) -> None:
    assert counts(far(isolate=True)) == counts(night()) == (12, 12, 0, 0)
    out = place(f"{boats}/out")
    for table in ("predictions.csv", "failures.csv"):
        assert outcomes(out, table) == outcomes(tmp_path / "out", table)
    assert "<html" in (out / "report.html").read_text()
    assert {p.name for p in out.iterdir()} >= {"run.json", "runs", "parts", "report.html"}
    assert not (out / ".lock").exists()

    s3.requests.clear()
    assert counts(far(report=False)) == (12, 0, 12, 0)
    assert s3.asked("GET", ".jpg") == 0  # nothing was opened again


def test_the_command_of_the_documents(s3: Server, pictures: Path, boatinfer: Command) -> None:
    page = Path(__file__).parents[2] / "docs" / "scale.md"
    (command,) = re.findall(r"^boatinfer (run s3://\S+ -o s3://\S+)$", page.read_text(), re.M)
    where = {"LocationConstraint": "eu-south-1"}
    s3.client.create_bucket(Bucket="boats", CreateBucketConfiguration=where)
    s3.fill("boats", pictures, "valid/")
    ended = boatinfer(*command.split())
    assert ended.code == 0
    assert "12 images found = 12 classified" in ended.out
    assert "predictions: s3://boats/out/predictions.csv" in ended.out


def test_from_a_bucket_to_a_disk(far: Night, tmp_path: Path, night: Night) -> None:
    far(out=tmp_path / "far")
    night()
    assert outcomes(tmp_path / "far") == outcomes(tmp_path / "out")


def test_an_image_costs_one_request(far: Night, s3: Server, tmp_path: Path) -> None:
    far(out=tmp_path / "far", report=False)
    assert s3.asked("GET", ".jpg") == 12
    assert s3.asked("HEAD", ".jpg") == 0


def test_many_images_are_waited_for_at_once(far: Night, s3: Server, tmp_path: Path) -> None:
    s3.delay = 0.2
    far(out=tmp_path / "far", report=False, threads=1)
    assert s3.most_at_once >= 8  # of 12 images, with one thread that decodes


def test_a_store_that_throttles(far: Night, night: Night, s3: Server, boats: str) -> None:
    asked: dict[tuple[str, str], int] = {}

    def every_first_time(method: str, path: str) -> tuple[int, str] | None:
        asked[method, path] = asked.get((method, path), 0) + 1
        return (503, "SlowDown") if asked[method, path] == 1 else None

    s3.misbehaves = every_first_time
    assert counts(far(report=False)) == (12, 12, 0, 0)
    assert min(n for (method, path), n in asked.items() if path.endswith(".jpg")) == 2


def test_objects_that_vanish_or_may_not_be_read(far: Night, boats: str, s3: Server) -> None:
    wrong = {"red/000.jpg": (404, "NoSuchKey"), "red/001.jpg": (403, "AccessDenied")}
    s3.misbehaves = lambda method, path: wrong.get(path.partition("/valid/")[2])
    summary = far(max_failures="50%")
    assert counts(summary) == (12, 10, 0, 2)
    assert summary.failures == {"unreadable": 1, "vanished": 1}
    messages = {row["path"]: row["message"] for row in rows(place(f"{boats}/out"), "failures.csv")}
    assert messages["red/000.jpg"] == "there is no such object (any more)"
    assert messages["red/001.jpg"].startswith("the store denies access (AccessDenied")

    s3.misbehaves = lambda method, path: None
    assert counts(far()) == (12, 2, 10, 0)  # what failed is tried again


def test_a_changed_object_of_the_same_size_and_second(
    far: Night, boats: str, bucket: str, s3: Server
) -> None:
    pictures = [colours.picture(name, seed) for name in ("red", "blue") for seed in range(50)]
    red, blue = next((a, b) for a in pictures[:50] for b in pictures[50:] if len(a) == len(b))
    for content in (red, blue):
        s3.client.put_object(Bucket=bucket, Key="valid/new.jpg", Body=content)
        far()
    labels = {row["path"]: row["label"] for row in rows(place(f"{boats}/out"))}
    assert labels["new.jpg"] == "blue"


def test_killed_and_resumed(
    boats: str, s3: Server, far: Night, night: Night, tmp_path: Path
) -> None:
    s3.delay = 0.05
    program = (
        "from boatinfer.pipeline.engines import local, stages; "
        "local.PART_ROWS = 2; stages.REQUESTS = 1; import boatinfer; "
        "boatinfer.run(boatinfer.RunOptions("
        f"'{boats}/valid', out='{boats}/out', model='{tmp_path}/colours.onnx', batch_size=2, "
        "threads=1))"
    )
    killed = subprocess.Popen([sys.executable, "-c", program])
    while s3.asked("PUT", ".parquet") < 2:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    s3.delay = 0.0
    assert place(f"{boats}/out/.lock").exists()  # its process has gone, which is seen

    summary = far()
    assert summary.complete
    assert summary.reused >= 4
    assert summary.reused + summary.classified == 12
    night()
    assert outcomes(place(f"{boats}/out")) == outcomes(tmp_path / "out")


def test_keys_that_no_disk_would_have(
    bucket: str, s3: Server, model_file: Path, tmp_path: Path
) -> None:
    keys = ["a//b.jpg", "/c.jpg", "\x01.jpg", "=cmd().jpg", "<script>.jpg"]
    keys += ["back\\slash.jpg", "tab\t.jpg", "ünï ¿+%41.jpg", "q?#&.jpg", "\\x41.jpg", "'\".jpg"]
    for number, key in enumerate(keys):
        body = colours.picture("red", number)
        s3.client.put_object(Bucket=bucket, Key=f"odd/{key}", Body=body)
    s3.client.put_object(Bucket=bucket, Key="odd/folder.jpg/", Body=b"")
    s3.client.put_object(Bucket=bucket, Key="odd/.hidden/x.jpg", Body=b"")
    options = RunOptions(place(f"s3://{bucket}/odd"), place(f"s3://{bucket}/out"), model_file)
    assert counts(run(options)) == (len(keys), len(keys), 0, 0)
    assert counts(run(options)) == (len(keys), 0, len(keys), 0)


def test_results_inside_the_scanned_folder_are_not_scanned(
    far: Night, boats: str, bucket: str, s3: Server
) -> None:
    out = f"{boats}/valid/out"
    far(out=out)
    s3.client.put_object(Bucket=bucket, Key="valid/out/picture.jpg", Body=b"")
    assert far(out=out).found == 12
    with pytest.raises(UsageError, match="the results cannot go into the scanned folder"):
        far(out=f"{boats}/valid")


def test_choosing_objects(far: Night, boats: str, bucket: str, s3: Server, tmp_path: Path) -> None:
    def found(**options: Any) -> int:
        return far(**options, out=tmp_path / str(len(s3.requests))).found

    s3.client.put_object(Bucket=bucket, Key="valid/top.jpg", Body=colours.picture("red", 99))
    s3.client.put_object(Bucket=bucket, Key="valid/@eaDir/red/x.jpg", Body=b"")
    s3.client.put_object(Bucket=bucket, Key="valid/@eaDir/red/y.jpg", Body=b"")
    s3.client.put_object(Bucket=bucket, Key="valid/red/film.MOV", Body=b"")
    summary = far(out=tmp_path / "left-out")
    assert (summary.found, summary.other_files) == (13, {".mov": 1})
    assert summary.system_folders == {"@eaDir": 1}
    assert found(recursive=False) == 1
    assert found(include=["red/*"]) == 4
    assert found(exclude=["red"]) == 9
    assert found(limit=3) == 3
    with pytest.raises(UsageError, match="name the images with --from-file instead"):
        found(sniff=True)


def test_a_list_and_a_model_in_the_bucket(
    far: Night, boats: str, s3: Server, model_file: Path, night: Night
) -> None:
    bucket = boats.removeprefix("s3://")
    names = f"red/000.jpg\n{boats}/valid/blue/001.jpg\nred/missing.jpg\nred/000.jpg\n"
    s3.client.put_object(Bucket=bucket, Key="list.txt", Body=names.encode())
    s3.client.put_object(Bucket=bucket, Key="colours.onnx", Body=model_file.read_bytes())
    summary = far(from_file=f"{boats}/list.txt", model=f"{boats}/colours.onnx")
    assert counts(summary) == (3, 2, 0, 1)
    assert summary.failures == {"vanished": 1}
    assert summary.model == night().model

    s3.client.put_object(Bucket=bucket, Key="list.txt", Body=b"s3://elsewhere/x.jpg")
    with pytest.raises(UsageError, match="lies outside"):
        far(from_file=f"{boats}/list.txt")


def test_pages_are_taken_as_they_come(
    bucket: str, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    monkeypatch.setattr("boatinfer.storage.bucket._PAGE_SIZE", 10)
    for number in range(25):
        s3.client.put_object(Bucket=bucket, Key=f"many/{number:04}.jpg", Body=b"")
    folder = BucketPath("s3", bucket, "many")
    folder.connect()
    s3.requests.clear()
    listing = folder.objects()
    assert next(listing).key == "many/0000.jpg"
    assert len(s3.requests) == 1
    assert 1 + sum(1 for _ in listing) == 25
    assert len(s3.requests) == 3


def test_a_results_folder_in_a_bucket_answers_questions(
    far: Night, boats: str, boatinfer: Command, tmp_path: Path
) -> None:
    out = f"{boats}/out"
    far(features=True)
    assert boatinfer("results", out, "--verify").code == 0
    assert "accuracy" in boatinfer("evaluate", out).out
    assert boatinfer("features", out, "-o", tmp_path / "f.npz").code == 0
    svm = tmp_path / "svm.joblib"
    assert boatinfer("svm", "fit", out, "-o", svm).code == 0
    assert "red/001.jpg" in boatinfer("similar", f"{boats}/valid/red/000.jpg", out).out
    assert boatinfer("compare", out, out).code == 0
    assert far(svm=svm).exit_code == 0
    svm_labels = {row["svm_label"] for row in rows(place(out))}
    assert svm_labels == {"red", "green", "blue"}


def test_many_parts_become_few(far: Night, boats: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boatinfer.pipeline.engines.local.PART_ROWS", 1)
    monkeypatch.setattr("boatinfer.results.store.compaction.MANY_PARTS", 8)
    far(batch_size=1)
    parts = Results(place(f"{boats}/out")).parts
    assert len(parts.files()) == 1
    assert counts(far()) == (12, 0, 12, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "s3://no-such-bucket/x"], "there is no bucket s3://no-such-bucket at http"),
        (["run", "s3://"], "s3:// names no bucket"),
        (["run", "gs://x"], "gs://x has no valid bucket name; write gs://BUCKET/FOLDER"),
        (["run", "ftp://host/x"], "a URI must begin with s3://, gs:// or file://"),
        (["run", "file://host/x"], "must name a file of this machine"),
        (["run", "s3://{}/nothing"], "holds no image files; check the name."),
        (["run", "s3://{}", "--endpoint", "http://127.0.0.1:1"], "cannot be opened (Could not"),
        (["run", "s3://{}", "--endpoint", "nonsense"], "cannot be opened (Invalid endpoint"),
        (["run", "s3://{}", "--svm", "s3://{}/svm"], "must be a file or folder of this machine"),
        (["classify", "s3://{}/x.jpg"], "this must be a file or folder of this machine"),
        (["evaluate", ".", "--html", "s3://{}/x.html"], "must be a file or folder of this machine"),
        (["results", "s3://{}/nothing"], "there is no folder"),
        (["evaluate", "s3://{}/nothing"], "there is no folder"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    bucket: str, boatinfer: Command, arguments: list[str], sentence: str
) -> None:
    ended = boatinfer(*(argument.format(bucket) for argument in arguments))
    assert ended.code == 2
    assert sentence in ended.err
    assert ended.err.count("\n") == 1


def test_a_model_that_is_not_in_the_bucket(bucket: str, boatinfer: Command) -> None:
    ended = boatinfer("model", "show", f"s3://{bucket}/none.onnx")
    assert (ended.code, ended.err.count("\n")) == (4, 1)
    assert "cannot be read: there is no such object" in ended.err


def test_missing_credentials(
    boats: str, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    ended = boatinfer("run", f"{boats}/valid")
    assert ended.code == 2
    assert "there are no credentials; set AWS_ACCESS_KEY_ID" in ended.err


def test_credentials_of_a_profile(
    boats: str, far: Night, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, s3: Server
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        "[harbour]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    (tmp_path / "config").write_text(f"[profile harbour]\nendpoint_url = {s3.url}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "harbour")
    assert far(out=tmp_path / "out").classified == 12


def test_a_missing_package(boats: str, boatinfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    ended = boatinfer("run", f"{boats}/valid")
    assert ended.code == 2
    assert install_hint("bucket") in ended.err


def test_a_folder_that_may_not_be_listed(far: Night, s3: Server, tmp_path: Path) -> None:
    s3.misbehaves = lambda method, path: (403, "AccessDenied")
    with pytest.raises(UsageError, match=r"cannot be listed: the store denies access"):
        far(out=tmp_path / "out")


def test_a_bucket_that_may_not_be_written(far: Night, s3: Server) -> None:
    s3.misbehaves = lambda method, path: (403, "AccessDenied") if method == "PUT" else None
    with pytest.raises(OutputError, match="could not be written: the store denies access"):
        far()


def test_a_part_that_may_not_be_written_ends_the_run(far: Night, s3: Server) -> None:
    denied = (403, "AccessDenied")
    s3.misbehaves = lambda method, path: (
        denied if method == "PUT" and path.endswith("parquet") else None
    )
    with pytest.raises(OutputError, match="could not be written"):
        far()
    s3.misbehaves = lambda method, path: None
    assert counts(far()) == (12, 12, 0, 0)


def test_a_file_uri_is_a_path(night: Night, pictures: Path, tmp_path: Path) -> None:
    odd = pictures.rename(tmp_path / "pictures of 100%")
    uri = odd.as_uri()
    assert uri.startswith("file:///")
    assert "%20" in uri
    assert counts(night(folder=uri, out=(tmp_path / "by uri").as_uri())) == (12, 12, 0, 0)
    assert counts(night(folder=odd, out=tmp_path / "by uri")) == (12, 0, 12, 0)


def test_google_by_construction_of_the_store() -> None:
    where = place("gs://boats/valid/2026/")
    assert isinstance(where, BucketPath)
    assert (where.scheme, where.bucket, where.key) == ("gs", "boats", "valid/2026")
    assert str(where / "a.jpg") == "gs://boats/valid/2026/a.jpg"


def test_google_without_credentials_is_a_sentence() -> None:
    error = ValueError("Generic GCS error: Error performing token request: GET http://169.254 ...")
    assert error_reason(error).startswith("no credentials were found; set GOOGLE_APPLICATION_CRED")


def test_shards_in_a_bucket_are_a_night_on_a_disk(
    far: Night, night: Night, boats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_START_SECONDS", 0.1)
    night()
    out = place(f"{boats}/out")
    far(shard="1/2")
    with pytest.raises(UsageError, match="lacks the shard 2/2"):
        finish(out)
    with Results(out, Shard(2, 2)).lock(f"{boats}/valid"):
        for shard in ("2/2", None):
            with pytest.raises(BusyError, match="is held by"):
                far(shard=shard)
        far(shard="1/2")
    far(shard="2/2")
    summary = finish(out)
    assert (summary.found, summary.classified + summary.reused) == (12, 12)
    for table in ("predictions.csv", "failures.csv"):
        assert outcomes(out, table) == outcomes(tmp_path / "out", table)
    assert not [note for note in (out / "shards").iterdir() if note.suffix != ".lock"]
    assert far().reused == 12

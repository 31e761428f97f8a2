"""What memory there is, and turns for those who need much of it."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import boatinfer
import colours
from boatinfer import images, memory
from boatinfer.errors import Failure, ImageError, UsageError
from boatinfer.images import admission
from boatinfer.images.memory import estimate_memory
from boatinfer.images.spec import ImageSpec
from boatinfer.isolation.supervisor import Supervisor
from boatinfer.pages.thumbnails import Album
from boatinfer.pipeline.options import RunOptions

MIB = 2**20
SPEC = ImageSpec(height=120, width=400)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2 * 2**30),
        ("2g", 2 * 2**30),
        ("1500M", 1500 * MIB),
        ("1500 MiB", 1500 * MIB),
        ("4GiB", 4 * 2**30),
        ("1.5GB", 1_500_000_000),
        ("0.5T", 2**39),
        ("100000K", 100_000 * 1024),
        ("300000000", 300_000_000),
        ("300000000B", 300_000_000),
        (300_000_000, 300_000_000),
    ],
)
def test_sizes_as_people_write_them(text: str | int, size: int) -> None:
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "2", "-2G", "2X", "G", "0", "nan", "1e9G", "2Gi"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--memory"):
        memory.parse_size(text)


def test_run_options_take_sizes_as_text() -> None:
    assert RunOptions(Path("x"), memory="2G").memory == 2 * 2**30  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 64 MiB"):
        RunOptions(Path("x"), memory=2)


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/", {}, []),
        ("0::/", {"memory.max": "max"}, []),
        ("0::/docker/f00d", {"memory.max": "1000"}, [1000]),  # as the host names it
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "2000"}, [2000]),
        ("0::/a", {"a/memory.max": "3000", "a/memory.high": "2000"}, [3000, 2000]),
        ("0::/a", {"b/memory.max": "1000"}, []),
        ("5:memory:/a\n0::/", {"memory/a/memory.limit_in_bytes": "4000"}, [4000]),
        ("4:cpu:/a\n0::/", {"memory/a/memory.limit_in_bytes": "4000"}, []),
    ],
)
def test_the_limits_of_all_control_groups_around_the_process_count(
    tmp_path: Path, groups: str, files: dict[str, str], limits: list[int]
) -> None:
    (tmp_path / "member").write_text(groups + "\n")
    for name, text in files.items():
        file = tmp_path / "mounted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    found = memory._cgroup_limits(tmp_path / "mounted", tmp_path / "member")
    assert sorted(found) == sorted(limits)


def test_what_is_free_is_within_the_limits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "usable_memory", lambda: memory.memory_in_use() + 100 * MIB)
    assert memory.free_memory() == pytest.approx(100 * MIB, abs=MIB)


def _in_a_process(code: str) -> str:
    """What some code prints."""
    source = str(Path(boatinfer.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {source!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not bound data")
@pytest.mark.parametrize("limit", ["AS", "DATA"])
def test_resource_limits_count_without_addresses_that_hold_nothing(limit: str) -> None:
    said = _in_a_process(
        "import mmap, resource; from boatinfer import memory; memory.usable_memory()\n"
        f"before = dict(memory._memory_rlimits())[resource.RLIMIT_{limit}]\n"
        f"resource.setrlimit(resource.RLIMIT_{limit}, (before + 2**30, -1))\n"
        "print(memory.usable_memory() - memory.memory_in_use())\n"
        "hole = mmap.mmap(-1, 2**28, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "print(memory.usable_memory() - memory.memory_in_use())"
    )
    without, with_hole = map(int, said.split())
    assert without == pytest.approx(2**30, abs=32 * MIB)
    assert with_hole == pytest.approx(2**30 - 2**28, abs=32 * MIB)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is done")
def test_a_limited_process_is_refused_memory_beyond_the_limit() -> None:
    said = _in_a_process(
        "from boatinfer import memory; memory.limit_process_memory(2**28)\n"
        "bytearray(2**27)\n"
        "try: bytearray(3 * 2**30)\n"
        "except MemoryError: print('refused')"
    )
    assert said == "refused\n"


def _picture(mode: str, form: str, side: int = 2000, **options: Any) -> bytes:
    """A large picture that compresses to little."""
    if mode == "I;16":
        image = Image.fromarray(np.full((side, side), 40_000, np.uint16))
    else:
        image = Image.new(mode, (side, side))
        image.paste(1, (0, 0, side // 2, side // 2))
    if options.pop("turned", False):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


PICTURES: dict[str, tuple[Any, ...]] = {
    "baseline.jpg": ("RGB", "JPEG"),
    "turned.jpg": ("RGB", "JPEG", {"turned": True}),
    "progressive.jpg": ("RGB", "JPEG", {"progressive": True}),
    "all-samples.jpg": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "inks.jpg": ("CMYK", "JPEG", {"progressive": True}),
    "inks-baseline.jpg": ("CMYK", "JPEG"),
    "grey.png": ("L", "PNG"),
    "colours.png": ("RGB", "PNG"),
    "streamed.png": ("RGB", "PNG", {"side": 3000}),
    "turned.png": ("RGB", "PNG", {"turned": True}),
    "alpha.png": ("RGBA", "PNG"),
    "palette.png": ("P", "PNG"),
    "glass.png": ("P", "PNG", {"transparency": 1}),
    "deep.png": ("I;16", "PNG"),
    "raw.tif": ("RGB", "TIFF"),
    "packed.tif": ("RGB", "TIFF", {"compression": "tiff_deflate"}),
    "deep.tif": ("I;16", "TIFF", {"compression": "tiff_deflate"}),
    "a.webp": ("RGB", "WEBP", {"method": 0}),
    "alpha.webp": ("RGBA", "WEBP", {"method": 0}),
    "a.gif": ("P", "GIF"),
    "glass.gif": ("P", "GIF", {"transparency": 1}),
    "a.bmp": ("RGB", "BMP"),
    "a.ppm": ("RGB", "PPM"),
    "a.jp2": ("RGB", "JPEG2000"),
    "reduced.jp2": ("RGB", "JPEG2000", {"side": 3000}),
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of large pictures of 4 megapixels, in every format, and two of 9."""
    folder = tmp_path_factory.mktemp("large")
    for name, (mode, form, *options) in PICTURES.items():
        (folder / name).write_bytes(_picture(mode, form, **(options[0] if options else {})))
    return folder


_MEASURE = """
import pathlib, re
from boatinfer import images, memory
from boatinfer.images.memory import estimate_memory
from boatinfer.models.card import ImageSpec
spec = ImageSpec(height=120, width=400)
def status(name):
    return int(re.search(name + r":\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
for file in sorted(pathlib.Path({folder!r}).iterdir()):
    images.read(file.read_bytes(), spec)  # loads libraries, once
    memory.release_freed_memory()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before, data = status("VmRSS"), file.read_bytes()
    estimate = estimate_memory(data, spec)
    images.read(data, spec)
    print(file.name, estimate, 1024 * (status("VmHWM") - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells the peak")
def test_what_an_image_needs_is_estimated_from_above_but_not_far(large: Path) -> None:
    said = _in_a_process(_MEASURE.format(folder=str(large)))
    told = {
        name: (int(estimate), int(peak))
        for name, estimate, peak in map(str.split, said.splitlines())
    }
    assert told.keys() == PICTURES.keys()
    some = 6 * MIB
    too_little = {name: told[name] for name in told if told[name][0] + some < told[name][1]}
    assert not too_little
    too_much = {name: told[name] for name in told if told[name][0] > 1.6 * told[name][1] + some}
    assert not too_much


@pytest.mark.parametrize("name", ["progressive.jpg", "inks.jpg"])
def test_odd_headers_hide_nothing(large: Path, name: str) -> None:
    plain = (large / name).read_bytes()
    filled = plain[:2] + b"\xff" * 5 + plain[2:]  # fill bytes before a marker
    wrong = plain[:2] + b"\0\0" + plain[2:]  # bytes between segments, which libjpeg forgives
    for odd in (filled, wrong):
        assert estimate_memory(odd, SPEC) >= estimate_memory(plain, SPEC)
    assert estimate_memory(plain[:20], SPEC) < MIB  # where there is no frame, nothing is decoded


def test_a_sequential_jpeg_in_several_scans_waits_in_memory_too(large: Path) -> None:
    plain = (large / "baseline.jpg").read_bytes()
    scan = plain.index(b"\xff\xda")
    several = bytearray(plain)
    several[scan + 4] = 1  # the first scan has one component
    assert estimate_memory(bytes(several), SPEC) > estimate_memory(plain, SPEC) + 9_000_000


@settings(max_examples=300)
@given(
    start=st.sampled_from([b"\xff\xd8", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\0", b""]),
    rest=st.binary(max_size=80),
)
def test_whatever_the_bytes_there_is_an_estimate(start: bytes, rest: bytes) -> None:
    assert estimate_memory(start + rest, SPEC) >= len(start + rest)


def test_small_images_are_not_looked_at_closely() -> None:
    assert estimate_memory(colours.picture("red", size=(800, 240)), SPEC) <= admission._ALWAYS_SMALL


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process takes 100 MiB for itself."""
    monkeypatch.setattr(admission, "memory_in_use", lambda: 100 * MIB)


class _Entering(threading.Thread):
    """Enters a gate, and notes in which order."""

    def __init__(self, gate: admission.Gate, size: int, order: list[int]) -> None:
        super().__init__(daemon=True)
        self._gate, self._size, self._order = gate, size, order

    def run(self) -> None:
        self._gate.enter(self._size)
        self._order.append(self._size)


def _waiting(gate: admission.Gate, count: int) -> None:
    for _ in itertools.takewhile(lambda _: len(gate._queue) < count, itertools.count()):
        threading.Event().wait(0.001)


def test_who_waits_first_enters_first_whatever_its_size() -> None:
    gate, order = admission.Gate(10), list[int]()
    gate.enter(8)
    threads = []
    for count, size in enumerate([9, 1, 2], 1):
        threads.append(_Entering(gate, size, order))
        threads[-1].start()
        _waiting(gate, count)
    assert order == []  # there is room for the small ones, but the large one came first
    gate.leave(8)
    gate.open()
    for thread in threads:
        thread.join(10)
    assert order[0] == 9
    assert sorted(order) == [1, 2, 9]


@pytest.mark.usefixtures("base")
def test_what_can_never_fit_is_too_large_and_the_sentence_names_the_option(large: Path) -> None:
    data = (large / "alpha.png").read_bytes()
    with images.temporary_limits(200 * MIB, 64):
        with pytest.raises(
            ImageError, match=r"about 84 MiB .* 30 MiB are left .*--memory"
        ) as caught:
            images.read(data, SPEC)
        assert caught.value.reason is Failure.TOO_LARGE
        images.read((large / "baseline.jpg").read_bytes(), SPEC)
    with images.temporary_limits(300 * MIB, 64):
        images.read(data, SPEC)


@pytest.mark.usefixtures("base")
def test_a_failed_image_gives_its_room_back(large: Path) -> None:
    cut = (large / "progressive.jpg").read_bytes()[:-500]
    with images.temporary_limits(300 * MIB, 64) as limits:
        with pytest.raises(ImageError):
            images.read(cut, SPEC)
        assert limits.decoding_gate.in_use == 0


@pytest.mark.usefixtures("base")
def test_a_large_file_waits_for_its_turn_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(20 * MIB))
    with images.temporary_limits(300 * MIB, 64) as limits:
        with images.LargeFileSlot():
            images.load(tmp_path / "large")
            assert limits.large_file_gate.in_use
            assert limits.decoding_gate.in_use == 20 * MIB
        assert not limits.large_file_gate.in_use
        assert limits.decoding_gate.in_use == 0
        images.load(tmp_path / "large")  # whoever reads just one needs no turn
        assert limits.decoding_gate.in_use == 0
    with images.temporary_limits(64 * MIB, 64) as limits:
        with images.LargeFileSlot(), pytest.raises(ImageError, match="--memory"):
            images.load(tmp_path / "large")
        assert not limits.large_file_gate.in_use


def test_a_file_in_its_turn_is_decoded_before_those_that_wait() -> None:
    gate, order = admission.Gate(10), list[int]()
    gate.enter(5)
    waits = _Entering(gate, 9, order)
    waits.start()
    _waiting(gate, 1)
    gate.enter(4, already_held=5)  # would wait for ever behind who waits for its 5
    gate.leave(9)
    waits.join(10)
    assert order == [9]


def test_limits_end_with_their_block() -> None:
    before = images.current_limits()
    with images.temporary_limits(2**30, 3):
        assert (images.current_limits().memory, images.current_limits().threads) == (2**30, 3)
    assert images.current_limits() is before


def test_thumbnails_are_made_by_as_many_threads_as_a_run_has(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def noting(task: Any, *arguments: Any) -> Any:
        threads.append(task.threads)
        return Supervisor(task, *arguments)

    monkeypatch.setattr("boatinfer.images.isolated.Supervisor", noting)
    rows = [{"path": "baseline.jpg"}] * 6
    with images.temporary_limits(None, 1):
        pictures = Album(str(large)).pictures(rows)
    assert threads == [1]
    assert all(picture.source for picture in pictures)


_RUN = """
import pathlib, re, resource, sys
import psutil
from boatinfer.__main__ import main
sys.argv = ["boatinfer", *{arguments!r}]
def peak(process):
    status = pathlib.Path(f"/proc/{{process.pid}}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
try:
    main()
finally:
    this = psutil.Process()
    ended = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(peak(this), max([ended, *map(peak, this.children())]), len(this.children()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is not known")
def test_a_run_over_large_images_stays_within_its_memory(
    large: Path, model_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(large, folder)
    jpeg = _picture("RGB", "JPEG", 4500, progressive=True, subsampling=0)
    for number in range(8):  # four at once would take more
        comment = b"\xff\xfe\0\3" + bytes([number])
        (folder / f"{number}.jpg").write_bytes(jpeg[:2] + comment + jpeg[2:])
    limit = 640 * MIB
    options = ["--memory", str(limit), "--threads", "4", "--batch-size", "1"]
    arguments = ["run", str(folder), "-o", str(tmp_path / "out"), "-m", str(model_file), *options]
    printed = _in_a_process(_RUN.format(arguments=arguments))
    here, worker, children = map(int, printed.splitlines()[-1].split())
    assert children == 1
    assert here + worker <= limit
    summary = json.loads((tmp_path / "out/run.json").read_text())
    assert (summary["classified"], summary["found"]) == (len(PICTURES) + 8,) * 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/jpeg;base64" in page


def test_webps_that_are_not_decoded_row_by_row_need_their_whole_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boatinfer.images.memory.LARGE", 1)
    picture = Image.new("RGBA", (1000, 1000), (255, 0, 0, 128))
    for lossless, mode, needed in [(True, "RGB", 4.5), (True, "RGBA", 4.5), (False, "RGBA", 3.0)]:
        file = tmp_path / "x.webp"
        picture.convert(mode).save(file, lossless=lossless, method=0)
        estimate = estimate_memory(file.read_bytes(), ImageSpec(height=60, width=200))
        assert estimate >= needed * 1000 * 1000
    lossless_estimate = estimate
    picture.convert("RGB").save(file, method=0)
    estimate = estimate_memory(file.read_bytes(), ImageSpec(height=60, width=200))
    assert estimate < lossless_estimate - 2 * 1000 * 1000

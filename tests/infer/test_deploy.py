"""The files of deploy/ parse, and the command lines in them run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from boatinfer import __version__
from boatinfer.cli import commands
from boatinfer.cli.fields import from_fields
from boatinfer.pipeline.merge_shards import finish
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from support import Command, outcomes, rows

DEPLOY = Path(__file__).parents[2] / "deploy"


def document(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def environment(**variables: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path} | variables


def the_same(out: Path, pictures: Path) -> bool:
    """Whether shards in ``out`` end as an undivided run."""
    summary = finish(out)
    whole = out.parent / "whole"
    run(RunOptions(pictures, whole, model=None))
    return summary.found == 12 and outcomes(out) == outcomes(whole)


def test_the_slurm_array_does_every_shard(pictures: Path, tmp_path: Path) -> None:
    script, out = DEPLOY / "slurm-array.sh", tmp_path / "out"
    (array,) = (line for line in script.read_text().splitlines() if "--array=1-" in line)
    assert array == "#SBATCH --array=1-64"
    # without B: the signal goes to job steps alone, and there is none
    assert "#SBATCH --signal=B:TERM@60" in script.read_text().splitlines()
    for task in ("1", "2"):
        variables = {"SLURM_ARRAY_TASK_ID": task, "BOATINFER_SHARDS": "2"}
        command = ["bash", str(script), str(pictures), str(out)]
        subprocess.run(command, check=True, env=environment(**variables))
    assert the_same(out, pictures)


def test_the_indexed_job_does_every_shard(pictures: Path, tmp_path: Path) -> None:
    spec, out = document("kubernetes-indexed-job.yaml")["spec"], tmp_path / "out"
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", 64)
    (container,) = spec["template"]["spec"]["containers"]
    command = [*container["command"], *container["args"]]
    assert {each["name"] for each in container["env"]} == {"DIR", "OUT"}
    assert '+ 1))/64"' in command[-1]
    command[-1] = command[-1].replace("/64", "/2")
    for index in ("0", "1"):
        places = {"DIR": str(pictures), "OUT": str(out)}
        subprocess.run(command, check=True, env=environment(JOB_COMPLETION_INDEX=index, **places))
    assert the_same(out, pictures)


def test_the_ray_job_is_a_command_line_of_ours() -> None:
    import typer
    from typer.testing import CliRunner

    seen: list[commands.RunCommand] = []
    app = typer.Typer()
    app.command()(from_fields(commands.RunCommand, seen.append))
    program, name, *arguments = shlex.split(document("kuberay-job.yaml")["spec"]["entrypoint"])
    assert (program, name) == ("boatinfer", "run")
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    (options,) = seen
    assert (options.engine, options.ray_address) == ("ray", "auto")


def test_all_files_name_one_image() -> None:
    named = {
        image
        for file in DEPLOY.iterdir()
        for image in re.findall(r"registry\.example\.com/\S+:[\d.]+", file.read_text())
    }
    assert named == {f"registry.example.com/boatinfer{kind}:{__version__}" for kind in ("", "-ray")}


@pytest.mark.parametrize("kind", ["compose", "kubernetes"])
def test_the_night_of_a_container(
    kind: str, boatinfer: Command, pictures: Path, tmp_path: Path
) -> None:
    """Runs what the container would run, with the paths that it would have."""
    if kind == "compose":
        service = document("compose.yaml")["services"]["night"]
        arguments = service["command"]
        mounts = re.findall(r":(/\w+)", " ".join(service["volumes"]))
        assert service["read_only"]
        assert service["tmpfs"] == ["/tmp"]
    else:
        spec = document("kubernetes-cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"][
            "spec"
        ]
        (container,) = spec["containers"]
        arguments = container["args"]
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]][1:]
        assert container["securityContext"]["readOnlyRootFilesystem"]
    assert arguments[-2:] == ["-c", "/config/night.toml"]
    assert {"/photos", "/results"} <= {*mounts}
    config = (DEPLOY / "night.toml").read_text()
    inside = re.findall(r'"(/[^"]+)"', config)
    assert all(path.startswith(("/photos", "/results")) for path in inside)
    config = config.replace('"/photos"', f'"{pictures}"').replace("/results", f"{tmp_path}/results")
    (tmp_path / "results").mkdir()
    (tmp_path / "night.toml").write_text(config)
    assert boatinfer(*arguments[:-1], tmp_path / "night.toml").code == 0
    found = sum(1 for file in pictures.rglob("*.*"))
    assert len(rows(tmp_path / "results" / "photos")) == found
    assert (tmp_path / "results" / "index.html").exists()


def test_the_image_is_of_this_project() -> None:
    """What it copies is there, what it installs is an extra, what it starts is the command."""
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    root = DEPLOY.parent
    copied = [line.split()[1:-1] for line in lines if re.match(r"COPY [^-]", line)]
    assert all((root / name).exists() for names in copied for name in names)
    (extras,) = (line.split("=")[1].split(",") for line in lines if line.startswith("ARG EXTRAS"))
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(project["optional-dependencies"])
    assert {"USER 10001:10001", "VOLUME /results", 'ENTRYPOINT ["tini", "--", "boatinfer"]'} <= {
        *lines
    }

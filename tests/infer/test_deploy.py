"""The files of deploy/ parse, and the command lines in them run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from boatinfer.cli import commands
from boatinfer.cli.fields import from_fields
from boatinfer.pipeline.merge_shards import finish
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from support import outcomes

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

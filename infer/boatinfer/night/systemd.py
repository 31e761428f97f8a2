"""A systemd service and the timer that starts it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from boatinfer.night.command import PYTHON
from boatinfer.night.job import Job, call, owned_by
from boatinfer.options import Device
from boatinfer.pipeline.options import Engine
from boatinfer.storage.base import Place
from boatinfer.storage.files import atomic_write, translate_write_errors
from boatinfer.storage.locations import is_remote, resolve

__all__ = ["files", "folder_of", "install", "uninstall"]

#: Where the units of the machine are.
SYSTEM_FOLDER = Path("/etc/systemd/system")


def folder_of(system: bool) -> Path:
    """Where the units of the machine, or of the user, are."""
    if system:
        return SYSTEM_FOLDER
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "systemd" / "user"


def files(job: Job) -> dict[Path, str]:
    """The units by the files that they belong in."""
    units = {f"{job.name}.service": _service(job), f"{job.name}.timer": _timer(job)}
    if job.schedule.on_failure is None:
        units[f"{job.name}-failed.service"] = _failed(job)
    return {folder_of(job.system) / name: text for name, text in units.items()}


def install(job: Job) -> Iterator[str]:
    """Writes the units and starts the timer; makes the folders that they need.

    Yields:
        Sentences on what was done.

    Raises:
        BoatinferError: something was refused.
    """
    units = files(job)
    for file in units:
        owned_by(file, job)
    for folder in _written(job):
        _make_folder(folder, job.user)
    for file, text in units.items():
        with translate_write_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
        yield f"written: {file}"
    call([*_systemctl(job.system), "daemon-reload"])
    call([*_systemctl(job.system), "enable", "--now", f"{job.name}.timer"])
    yield f"enabled: {job.name}.timer"
    if not job.system:
        yield "It runs while you are logged in; 'loginctl enable-linger' lets it run always."


def uninstall(job: Job) -> Iterator[str]:
    """Stops the timer and removes the units.

    Yields:
        Sentences on what was done; none if there was nothing.

    Raises:
        BoatinferError: something was refused.
    """
    names = [f"{job.name}{end}" for end in (".timer", ".service", "-failed.service")]
    units = [folder_of(job.system) / name for name in names]
    there = [file for file in units if owned_by(file, job)]
    if not there:
        return
    call([*_systemctl(job.system), "disable", "--now", f"{job.name}.timer"], check=False)
    for file in there:
        with translate_write_errors(file):
            file.unlink(missing_ok=True)
        yield f"removed: {file}"
    call([*_systemctl(job.system), "daemon-reload"], check=False)


def _systemctl(system: bool) -> list[str]:
    return ["systemctl"] if system else ["systemctl", "--user"]


def _make_folder(folder: Path, user: str | None) -> None:
    """Makes a folder that the service writes to, as systemd wants it to be there."""
    if folder.is_dir():
        return
    with translate_write_errors(folder):
        folder.mkdir(parents=True)
        if user is not None:
            shutil.chown(folder, int(user) if user.isdigit() else user)


def _written(job: Job) -> list[Path]:
    """The folders that the service writes to."""
    places: list[Place] = [job.night.index.parent, *(folder.out for folder in job.night.folders)]
    if job.night.metrics is not None:
        places.append(job.night.metrics.file.parent)
    local = (Path(str(resolve(place))) for place in places if not is_remote(place))
    return list(dict.fromkeys(local))


def _timer(job: Job) -> str:
    days = ",".join(day.capitalize() for day in job.schedule.days)
    when = f"{'' if job.daily else f'{days} '}*-*-* {job.schedule.at}:00"
    return f"""\
# {job.mark}
[Unit]
Description=Starts {_text(job.name)}

[Timer]
OnCalendar={when}
# A start that the machine slept through is made up for.
Persistent=true

[Install]
WantedBy=timers.target
"""


def _failed(job: Job) -> str:
    """What is started when a night fails: its status goes to the journal, as an error."""
    status = [*PYTHON, "night", "status", "--config", str(job.night.file)]
    return f"""\
# {job.mark}
[Unit]
Description=Notes that {_text(job.name)} failed

[Service]
Type=oneshot
ExecStart={_command(status)}
# The status ends with the code of the night.
SuccessExitStatus=1 2 3 4 5 6 7 8 9 10
SyslogLevel=err
{_lines(_surroundings(job))}
{_lines(_hardening(job, writes=False))}
"""


def _service(job: Job) -> str:
    failed = job.schedule.on_failure or f"{job.name}-failed.service"
    remote = "Wants=network-online.target\nAfter=network-online.target\n" if _remote(job) else ""
    return f"""\
# {job.mark}
[Unit]
Description=Classifies the folders of {_text(str(job.night.file))}
OnFailure={_text(failed)}
{remote}
[Service]
Type=oneshot
ExecStart={_command(job.command)}
{_lines(_surroundings(job))}
# A run ends its batch and writes what is done; SIGTERM goes to the night, which passes it on.
KillMode=mixed
TimeoutStopSec={job.stop_seconds}
{_lines(_limits(job))}
{_lines(_hardening(job))}
"""


def _surroundings(job: Job) -> Iterator[str]:
    if job.user is not None:
        yield f"User={_text(job.user)}"
    yield f"WorkingDirectory={_text(str(job.night.file.parent))}"
    yield "Environment=PYTHONUTF8=1"


def _limits(job: Job) -> Iterator[str]:
    schedule = job.schedule
    yield f"Nice={schedule.nice}"
    yield "CPUWeight=20"
    yield "IOWeight=20"
    if schedule.cpus is not None:
        yield f"CPUQuota={100 * schedule.cpus}%"
    yield f"MemoryMax={schedule.memory}"
    # A run whose worker process was killed for memory goes on with another.
    yield "OOMPolicy=continue"
    yield "TasksMax=4096"


def _hardening(job: Job, writes: bool = True) -> Iterator[str]:
    """What the service may not do; where the user's own systemd can see to it, that alone."""
    yield from (
        "NoNewPrivileges=yes",
        "LockPersonality=yes",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "SystemCallErrorNumber=EPERM",
        "UMask=0022",  # others read the pages
    )
    network = "AF_UNIX AF_INET AF_INET6 AF_NETLINK" if _remote(job) else "AF_UNIX"
    yield f"RestrictAddressFamilies={network}"
    if job.system:
        yield from _hardening_by_root(job, writes)


def _hardening_by_root(job: Job, writes: bool) -> Iterator[str]:
    yield from (
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "PrivateTmp=yes",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectProc=invisible",
        "RemoveIPC=yes",
    )
    if not _remote(job):
        yield from ("PrivateNetwork=yes", "IPAddressDeny=any")
    if not _uses_gpu(job):
        yield from ("PrivateDevices=yes", "DevicePolicy=closed")
    for folder in _written(job) if writes else ():
        yield f"ReadWritePaths={_word(str(folder))}"


def _remote(job: Job) -> bool:
    """Whether a night needs the network: for a bucket, a cluster, or whom it tells."""
    if job.night.targets:
        return True
    for folder in job.night.folders:
        options = folder.options
        places = (options.folder, options.out, options.model, options.from_file)
        if options.engine is not Engine.LOCAL or any(p and is_remote(p) for p in places):
            return True
    return False


def _uses_gpu(job: Job) -> bool:
    """Whether a run may use the GPU: it is asked for, or it is there and not refused."""
    devices = {folder.options.device for folder in job.night.folders}
    there = False
    with contextlib.suppress(OSError):
        there = Path("/dev/nvidiactl").exists()
    return Device.CUDA in devices or (Device.AUTO in devices and there)


def _lines(lines: Iterator[str]) -> str:
    return "\n".join(lines)


def _text(text: str) -> str:
    """Text of a unit, in which ``%`` begins a specifier."""
    return text.replace("%", "%%")


def _word(word: str) -> str:
    """One of several words of a unit, quoted if it must be (systemd.syntax, systemd.service)."""
    word = _text(word)
    if word and all(c.isalnum() or c in "/._-+=:,@%" for c in word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _command(command: list[str]) -> str:
    """A command line of a unit, in which ``$`` begins a variable."""
    return " ".join(_word(word.replace("$", "$$")) for word in command)

"""``boatinfer models``: the models of a results folder, and which of them is in service."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from boatinfer.cli.pandas import without_pandas
from boatinfer.dataset.held_back import HELD_BACK
from boatinfer.errors import UsageError
from boatinfer.models.built_in import model_place
from boatinfer.options import Device, OnDevice, check_share, parse_share
from boatinfer.storage.base import Place
from boatinfer.storage.locations import local_path, place
from boatinfer.text import local_time, printable, table

if TYPE_CHECKING:
    from boatinfer.results.registry import Event, Registry

__all__ = ["app"]

app = typer.Typer(
    cls=TyperGroup,
    no_args_is_help=True,
    add_completion=False,
    help="Keep the models of a results folder, compare, promote and roll back.",
)

Out = Annotated[
    str,
    typer.Argument(
        metavar="OUT", help="Results folder, or with -c the name of a folder in that file."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "-c", "--config", parser=local_path, metavar="FILE", help="night.toml that names OUT."
    ),
]
Who = Annotated[
    str | None,
    typer.Option("--name", metavar="WHO", help="Who does it; by default the name of the user."),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; goes to the log.")]
Despite = Annotated[
    bool,
    typer.Option("--force", help="Do it although something speaks against it; --reason says why."),
]
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name of the model, or the beginning of its SHA-256.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _place(out: str, config: Path | None) -> Place:
    """The results folder that is meant."""
    if config is None:
        return place(out)
    from boatinfer.night.config import read_night

    return read_night(config).chosen([out])[0].out


def _registry(out: str, config: Path | None) -> Registry:
    from boatinfer.results.find import find_results
    from boatinfer.results.registry import Registry

    return Registry(find_results(_place(out, config)).out)


def _who(name: str | None) -> str:
    from boatinfer.results.registry import user_name

    return user_name() if name is None else name


def _share(option: str, text: str) -> float:
    share = 1.0 if text == "all" else parse_share(text)
    check_share(option, share)
    return share


def _print_json(document: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


@app.command("add")
@without_pandas
def add(
    out: Out,
    file: Annotated[
        Place, typer.Argument(parser=model_place, metavar="FILE", help="Model file, or boats.")
    ],
    config: Config = None,
    name: Who = None,
) -> None:
    """Copy a model file into a results folder; its seal and self-test are checked."""
    from boatinfer.pipeline.promotion import add

    typer.echo(f"added: {printable(str(add(_place(out, config), file, _who(name))))}")


@app.command("list")
def list_models(out: Out, config: Config = None, json: Json = False) -> None:
    """List the models of a results folder."""
    registry = _registry(out, config)
    rows = [
        {
            "name": model.name,
            "file": model.file,
            "network": model.network,
            "data": model.data,
            "added": next(e.when for e in registry.events if e.model.file == model.file),
            "role": _role(registry, model.file),
        }
        for model in registry.models
    ]
    if json:
        _print_json(rows)
    elif not rows:
        typer.echo("no models; runs take the one that -m names, or the built-in one")
    else:
        lines = [
            (printable(row["name"]), row["file"][:12], local_time(row["added"]), row["role"])
            for row in rows
        ]
        for line in table([("model", "sha256", "added", ""), *lines], names=4):
            typer.echo(line.rstrip())


def _role(registry: Registry, file: str) -> str:
    if registry.in_service is not None and registry.in_service.file == file:
        return "in service"
    if registry.challenger is not None and registry.challenger[0].file == file:
        return f"challenger, {registry.challenger[1]:.0%} of the new images"
    return ""


@app.command("challenge")
@without_pandas
def challenge(
    out: Out,
    model: ModelName,
    config: Config = None,
    *,
    shadow: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Share of the new images of each run, or all; 0 ends it.",
        ),
    ] = "10%",
    force: Despite = False,
    reason: Reason = "",
    name: Who = None,
) -> None:
    """Let a model classify new images in the shadow: after each run, beside the tables."""
    from boatinfer.pipeline.promotion import challenge

    share = _share("--shadow", shadow)
    event = challenge(_place(out, config), model, share, _who(name), force=force, reason=reason)
    named = printable(str(event.model))
    typer.echo(
        f"{named} classifies {share:.0%} of the new images after each run"
        if share
        else f"{named} is no challenger any more"
    )


@app.command("promote")
@without_pandas
def promote(
    out: Out,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="As for challenge; by default the challenger."),
    ] = None,
    config: Config = None,
    *,
    max_loss: Annotated[
        str,
        typer.Option(metavar="SHARE", help="Share of the images of a class that may be lost."),
    ] = "5%",
    held_back: Annotated[
        str,
        typer.Option(
            metavar="SHARE", help="Share of the labels that 'boatinfer data build' held back."
        ),
    ] = HELD_BACK,
    force: Despite = False,
    reason: Reason = "",
    name: Who = None,
    device: OnDevice = Device.AUTO,
) -> None:
    """Put a model into service if it is no worse on the labels held back from training."""
    from boatinfer.pipeline.promotion import promote

    promotion = promote(
        _place(out, config),
        model,
        _who(name),
        share=_share("--held-back", held_back),
        max_loss=_share("--max-loss", max_loss),
        force=force,
        reason=reason,
        device=device,
    )
    typer.echo(promotion.trial.text())
    for objection in promotion.objections:
        typer.echo(f"against it: {printable(objection)}")
    typer.echo(
        f"in service: {printable(str(promotion.event.model))}; runs without -m (in night.toml: "
        "without the key model) take it from now on"
    )


@app.command("rollback")
@without_pandas
def rollback(out: Out, config: Config = None, reason: Reason = "", name: Who = None) -> None:
    """Put the model before the last promotion into service again; nothing is classified."""
    from boatinfer.pipeline.promotion import roll_back

    event, restored = roll_back(_place(out, config), _who(name), reason)
    typer.echo(f"in service: {printable(str(event.model))}")
    typer.echo(
        "the tables are those of before the promotion"
        if restored
        else "the next run writes its tables; the images that it knows are not classified again"
    )


@app.command("log")
def log(
    out: Out,
    config: Config = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="DATE", help="Which model was in service then: 2026-03-31."),
    ] = None,
    json: Json = False,
) -> None:
    """Show who put which model into service, when, and on what figures."""
    registry = _registry(out, config)
    events = registry.events if at is None else _events_of(registry, at)
    if json:
        _print_json(events)
        return
    for event in events:
        typer.echo("\n".join(_lines(event)))
    if not events and at is None:
        typer.echo("no models; runs take the one that -m names, or the built-in one")
    elif not events:
        typer.echo(_model_of_runs(registry, at or ""))


def _events_of(registry: Registry, text: str) -> list[Event]:
    """The event that put the model of a day's beginning into service, and those of the day."""
    start, end = _day(text)
    changes = [
        (datetime.fromisoformat(event.when), event)
        for event in registry.events
        if event.what in {"promote", "rollback"}
    ]
    before = [event for when, event in changes if when < start][-1:]
    return before + [event for when, event in changes if start <= when < end]


def _model_of_runs(registry: Registry, text: str) -> str:
    """The model of the last run up to a day on which none had been promoted yet."""
    from boatinfer.results.folder import Results

    results, (_, end) = Results(registry.out), _day(text)
    last = results.last_run()
    for run in () if last is None else (last, *results.history(last)):
        if run.complete and datetime.fromisoformat(run.started) < end:
            named = f"{printable(run.model_name)} ({run.model[:12]})"
            return f"none was promoted yet; the run of {local_time(run.started)} was by {named}"
    return "none was promoted yet, and there was no run"


def _day(text: str) -> tuple[datetime, datetime]:
    """Beginning and end of a day, here."""
    try:
        start = datetime.combine(date.fromisoformat(text), time()).astimezone()
    except ValueError:
        raise UsageError(f"--at {text} is no date; write it as 2026-03-31.") from None
    return start, start + timedelta(days=1)


def _lines(event: Event) -> list[str]:
    """An event, for a terminal."""
    done = {"promote": "promoted", "rollback": "rolled back to", "add": "added"}
    what = done.get(event.what) or ("shadow" if event.shadow else "no challenger any more:")
    share = f", {event.shadow:.0%} of the new images" if event.shadow else ""
    by = f" by {printable(event.by)}" if event.by else ""
    lines = [f"{local_time(event.when)}  {what} {printable(str(event.model))}{share}{by}"]
    if event.before is not None:
        lines.append(f"    before: {printable(str(event.before))}")
    if event.figures:
        figures = event.figures
        lines.append(
            f"    of {figures['images']:,} held-back images {figures['right_after']:,} right, "
            f"before {figures['right_before']:,} (McNemar's exact test: p = "
            f"{figures['mcnemar_p']:.2g})"
        )
        lines += [f"    against it: {printable(text)}" for text in figures["against"]]
    if event.what in {"promote", "rollback"}:
        lines.append(f"    model {event.model.file}")
        lines += [f"    training data {event.model.data}"] if event.model.data else []
        lines += [f"    labels {event.labels}"] if event.labels else []
    if event.reason:
        lines.append(f"    {'forced' if event.forced else 'reason'}: {printable(event.reason)}")
    return lines

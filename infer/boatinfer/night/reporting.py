"""Tells services and people of a night while it goes on: pings, metrics and messages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType

from msgspec.structs import replace

from boatinfer.errors import BoatinferError, BusyError
from boatinfer.night.config import Folder, Night
from boatinfer.night.gauges import write_metrics
from boatinfer.night.notify.message import folder_status, make_message
from boatinfer.night.notify.outbox import Outbox, send_message
from boatinfer.night.notify.senders import ping
from boatinfer.night.notify.settings import Target, When
from boatinfer.night.record import FolderResult, NightResult, Record, worst

__all__ = ["Reporter"]

#: Folder states of which is told, by the setting.
_TOLD = {
    When.FAILURE: {When.FAILURE.value},
    When.UNUSUAL: {When.FAILURE.value, When.UNUSUAL.value},
    When.ALWAYS: {When.FAILURE.value, When.UNUSUAL.value, "ok"},
}


class Reporter:
    """Tells of a night; whoever cannot be told does not hold it.

    As a context manager it tells of an error that ends the night.

    Args:
        night: what a night is.
        folders: those that are run.
        result: the night, which begins.
        clock: says what time it is.
    """

    def __init__(
        self,
        night: Night,
        folders: Sequence[Folder],
        result: NightResult,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._night, self._folders, self._result, self._clock = night, folders, result, clock
        self._record = Record(config=str(night.file))
        self._outbox = Outbox(night.notify.timeout)
        self._logs: list[str] = []
        self._remarks: list[str] = []
        self._pings = _pings(night, folders)

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or self._result.finished is not None:
            return
        code = error.exit_code if isinstance(error, BoatinferError) else BoatinferError.exit_code
        said = str(error) if isinstance(error, BoatinferError) else type(error).__name__
        result = replace(self._result, finished=self._now(), exit_code=code, error=said)
        if isinstance(error, BusyError):  # the other one has pings and metrics of its own
            self._pings = {}
            self._messages(result)
            self._outbox.close()
        else:
            self.end(result)

    def begin(self, record: Record, result: NightResult) -> None:
        """The night has begun."""
        self._record, self._result = record, result
        for target in self._pings:
            self._outbox.put(target, lambda url, limit: ping(url, "start", "", limit))
        self._metrics()

    def folder_ended(self, result: NightResult, told: FolderResult, log: str) -> None:
        """A folder has ended.

        Args:
            result: the night so far.
            told: what the folder came to.
            log: the end of what the folder's run said.
        """
        self._result = result
        self._logs += [log] if log else []
        for target, waiting in list(self._pings.items()):
            if told.name in waiting:
                waiting.remove(told.name)
            if not waiting:
                self._end_ping(target, result)
        self._metrics()

    def end(self, result: NightResult) -> list[str]:
        """The night has ended.

        Returns:
            Remarks: whom could not be told, in sentences.
        """
        self._result = result
        for target in list(self._pings):
            self._end_ping(target, result)
        self._messages(result)
        self._metrics()
        told = self._outbox.close()
        return list(dict.fromkeys([*self._remarks, *filter(None, told.values())]))

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")

    def _end_ping(self, target: Target, result: NightResult) -> None:
        """Tells a check how those folders went for which it stands."""
        del self._pings[target]
        folders = [folder for folder in self._folders if target in folder.notify.ping]
        names = {folder.name for folder in folders}
        results = [one for one in result.folders if one.name in names]
        codes = [1 if one.exit_code is None else one.exit_code for one in results]
        code = worst([*codes, result.exit_code if result.error or len(codes) < len(names) else 0])
        text = make_message(self._night, result, folders).text
        body = f"exit code {code}\n\n{text}"
        if code and self._logs:
            body = "\n".join([body, "", *self._logs])
        event = "fail" if code else ""
        self._outbox.put(target, lambda url, limit: ping(url, event, body, limit))

    def _messages(self, result: NightResult) -> None:
        """Sends everybody one message, of those folders that they are told of."""
        targets = dict.fromkeys(
            target for folder in self._folders for target in folder.notify.messages
        )
        for target in targets:
            folders = [one for one in self._folders if target in one.notify.messages]
            told = [one for one in folders if _is_told(one, result)]
            if told or result.earlier or result.error:
                send_message(
                    self._outbox, target, make_message(self._night, result, told or folders)
                )

    def _metrics(self) -> None:
        metrics = self._night.metrics
        if metrics is None:
            return
        try:
            write_metrics(
                self._night, self._record.beginning_with(self._result), self._folders, metrics
            )
        except Exception as error:  # the night goes on, and old figures must not look well
            with contextlib.suppress(OSError):
                metrics.file.unlink(missing_ok=True)
            said = str(error) if isinstance(error, BoatinferError) else type(error).__name__
            self._remarks.append(
                said if metrics.where in said else f"{metrics.where}: no metrics: {said}."
            )


def _pings(night: Night, folders: Sequence[Folder]) -> dict[Target, set[str]]:
    """The checks to ping, and the folders for which each stands: all of these must be run."""
    run = {folder.name for folder in folders}
    found: dict[Target, set[str]] = {}
    for folder in night.folders:
        for target in folder.notify.ping:
            found.setdefault(target, set()).add(folder.name)
    return {target: names for target, names in found.items() if names <= run}


def _is_told(folder: Folder, result: NightResult) -> bool:
    found: FolderResult | None = next(
        (one for one in result.folders if one.name == folder.name), None
    )
    return found is not None and folder_status(found) in _TOLD[folder.notify.when]

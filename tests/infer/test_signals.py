"""What a second Ctrl-C does."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from boatinfer import signals
from boatinfer.errors import RunInterruptedError
from boatinfer.signals import stop_on_signals


class Clock:
    """A clock that stands still until it is told to go on."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(signals, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.mark.parametrize(("after", "acts"), [(0.0, False), (0.9, False), (1.1, True)])
def test_a_second_signal_acts_at_once_unless_it_is_the_same_one_again(
    clock: Clock, after: float, acts: bool
) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert (stop.signal_number, came) == (signal.SIGTERM, [])
            clock.now += after
            signal.raise_signal(signal.SIGTERM)
            assert came == [signal.SIGTERM] * acts
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_ctrl_c_is_what_python_makes_of_it(clock: Clock) -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_signals():
        signal.raise_signal(signal.SIGINT)
        clock.now += 60
        signal.raise_signal(signal.SIGINT)


def test_the_first_signal_is_the_one_that_is_told(clock: Clock) -> None:
    with stop_on_signals() as stop:
        stop.check()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # within the second
        with pytest.raises(RunInterruptedError) as raised:
            stop.check()
    assert raised.value.exit_code == 128 + signal.SIGTERM

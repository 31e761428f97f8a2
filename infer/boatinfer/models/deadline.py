"""A time limit for compiled code, which cannot be interrupted.

An ONNX graph may loop for ever. The call is made in a thread of its own, which is abandoned at the
deadline.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["OverdueError", "call_with_timeout"]

Result = TypeVar("Result")

#: Seconds that a cancelled call may take to end.
_GRACE = 2.0


class OverdueError(Exception):
    """A call did not end in time."""


def call_with_timeout(
    seconds: float, call: Callable[[], Result], cancel: Callable[[], None] = lambda: None
) -> Result:
    """Calls a function with a time limit; returns its result or raises its exception.

    Args:
        seconds: the time limit.
        call: the function.
        cancel: called at the deadline, to make the call end.

    Raises:
        OverdueError: the call did not end in time.
    """
    done: Future[Result] = Future()

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # raised again by done.result()
            done.set_exception(error)

    thread = threading.Thread(target=work, name="boatinfer-deadline", daemon=True)
    thread.start()
    thread.join(seconds)
    if not done.done():
        cancel()
        thread.join(_GRACE)
        raise OverdueError(f"it did not end within {seconds:g} s")
    return done.result()

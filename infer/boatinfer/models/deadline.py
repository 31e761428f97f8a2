"""A limit on the time that compiled code may take: what it does cannot be interrupted from outside.

An ONNX graph may loop for ever. The call is made in a thread of its own, which is left behind at
the deadline; nothing waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["OverdueError", "within"]

Result = TypeVar("Result")

#: Seconds that a call has to end after it was told to.
_GRACE = 2.0


class OverdueError(Exception):
    """A call has not ended in time."""


def within(
    seconds: float, call: Callable[[], Result], cancel: Callable[[], None] = lambda: None
) -> Result:
    """Calls a function that may take long, and gives what it returns or raises.

    Args:
        seconds: how long it may take.
        call: the function.
        cancel: called at the deadline, to tell it to end.

    Raises:
        OverdueError: it has not ended in time.
    """
    done: Future[Result] = Future()

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # it is raised where the result is waited for
            done.set_exception(error)

    thread = threading.Thread(target=work, name="boatinfer-deadline", daemon=True)
    thread.start()
    thread.join(seconds)
    if not done.done():
        cancel()
        thread.join(_GRACE)
        raise OverdueError(f"it did not end within {seconds:g} s")
    return done.result()

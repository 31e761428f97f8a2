"""Commands that use pyarrow, without the start-up of pandas."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["without_pandas"]

Command = TypeVar("Command", bound=Callable[..., Any])


def without_pandas(command: Command) -> Command:
    """Lets a command use pyarrow without loading pandas, which would double its start-up.

    Where pandas is installed, pyarrow loads it at the first array that it makes, to know
    objects of it when it sees them. It tries once, and without pandas goes by protocols. What
    asks for pandas by name, such as ``Table.to_pandas``, still gets it.
    """

    @functools.wraps(command)
    def called(*arguments: Any, **options: Any) -> Any:
        if "pandas" not in sys.modules:
            import pyarrow as pa

            sys.meta_path.insert(0, _NoPandas)
            try:
                pa.array([])
            finally:
                sys.meta_path.remove(_NoPandas)
        return command(*arguments, **options)

    return called  # type: ignore[return-value]


class _NoPandas:
    """An importer that knows of one package that it is not there."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)

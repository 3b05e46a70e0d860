"""Progress of long work on the terminal: what runs, how far it is, how much time is left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int], None]
"Told how many more units of work are done."


_IS_QUIET: ContextVar[bool] = ContextVar("is_quiet", default=False)


@contextmanager
def quietly() -> Iterator[None]:
    """Let reporters that are made inside show nothing, unless they are given a console."""
    token = _IS_QUIET.set(True)
    try:
        yield
    finally:
        _IS_QUIET.reset(token)


class Reporter:
    """Shows stages and their progress on a console; a quiet console shows nothing."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = Console(stderr=True, quiet=_IS_QUIET.get()) if console is None else console

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, highlight=False)

    @contextmanager
    def task(self, title: str, *, total: int) -> Iterator[Advance]:
        """Show a bar of `total` units while inside."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        hidden = not self.console.is_terminal  # A log file gets the lines of `say` only.
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as bars:
            task = bars.add_task(title, total=total)

            def advance(n: int) -> None:
                bars.advance(task, n)

            yield advance


def quiet_reporter() -> Reporter:
    """Return a reporter that shows nothing."""
    return Reporter(Console(quiet=True))

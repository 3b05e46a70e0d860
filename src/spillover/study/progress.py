"""Progress of long work on the terminal: what runs, how far it is, how fast, what time is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Protocol

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

WARM_UP_SECONDS = 1.0
"Answers that come this soon were kept from an earlier run; they say nothing of the speed."


class Advance(Protocol):
    """Told how many more units of work are done."""

    def __call__(self, n: int, /, *, tokens: int = 0) -> None:
        """Go on by `n` units, for which `tokens` tokens were generated."""


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
            TextColumn("{task.fields[speed]}"),
        )
        hidden = not self.console.is_terminal  # A log file gets the lines of `say` only.
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as bars:
            task = bars.add_task(title, total=total, speed="")
            begin, generated = monotonic() + WARM_UP_SECONDS, 0

            def advance(n: int, /, *, tokens: int = 0) -> None:
                nonlocal generated
                seconds = monotonic() - begin
                if seconds > 0 and tokens > 0:  # -1 where a server does not tell.
                    generated += tokens
                    bars.update(task, speed=f"{generated / seconds:.0f} tokens/s")
                bars.advance(task, n)

            yield advance


def quiet_reporter() -> Reporter:
    """Return a reporter that shows nothing."""
    return Reporter(Console(quiet=True))

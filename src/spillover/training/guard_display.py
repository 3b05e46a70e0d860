"""The guard's signals as a table that grows while training runs.

On a terminal without a progress bar the table is redrawn in place; beside a progress bar, which
would draw over it, the new row is written above the bar. Elsewhere nothing is shown.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from spillover.training.guard_readings import Signals

_ROWS = 12


class GuardTable:
    """A table with one row a measurement; the last dozen are shown.

    Args:
        thresholds: Signal -> value above which it alarms; shown beside the value.
        in_place: Redraw one table; otherwise write each row once.
        console: Where to; standard error by default.
    """

    def __init__(
        self,
        thresholds: Mapping[str, float],
        *,
        in_place: bool,
        console: Console | None = None,
    ) -> None:
        self._thresholds = thresholds
        self._console = Console(stderr=True) if console is None else console
        self._rows: list[tuple[int, Signals, str]] = []
        self._live = Live(console=self._console, auto_refresh=False) if in_place else None
        if self._live is not None:
            self._live.start()

    def add(self, step: int, signals: Signals, *, alarm: str | None) -> None:
        """Show one measurement.

        Args:
            step: Optimizer steps done.
            signals: What was measured.
            alarm: What was done about an alarm; None where there was none.
        """
        status = "[green]good[/]" if alarm is None else f"[bold red]alarm: {alarm}[/]"
        self._rows = [*self._rows, (step, signals, status)][-_ROWS:]
        if self._live is None:
            self._write_above_bars(self._table(self._rows[-1:]))
        else:
            self._live.update(self._table(self._rows), refresh=True)

    def close(self) -> None:
        """Leave the table as it is."""
        if self._live is not None:
            self._live.stop()

    def _table(self, rows: list[tuple[int, Signals, str]]) -> Table:
        names = list(rows[-1][1])
        table = Table("step", *(name.replace("_", " ") for name in names), "alignment")
        for step, signals, status in rows:
            table.add_row(str(step), *(self._cell(n, signals[n]) for n in names), status)
        return table

    def _cell(self, name: str, value: float) -> str:
        limit = self._thresholds.get(name)
        if limit is None:
            return f"{value:.3f}"
        text = f"{value:.3f} / {limit:.3f}"
        return f"[red]{text}[/]" if value > limit else text

    def _write_above_bars(self, table: Table) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped]

        with self._console.capture() as captured:
            self._console.print(table)
        tqdm.write(captured.get(), file=self._console.file, end="")


def guard_table(
    args: Any, thresholds: Mapping[str, float], *, asked: bool | None
) -> GuardTable | None:
    """Return a table where one is to be shown, else None.

    Args:
        args: The trainer's arguments, which say whether it draws progress bars.
        thresholds: See `GuardTable`.
        asked: True or False, or None for a terminal only.
    """
    console = Console(stderr=True)
    if not (console.is_terminal if asked is None else asked):
        return None
    in_place = console.is_terminal and args.disable_tqdm
    return GuardTable(thresholds, in_place=in_place, console=console)

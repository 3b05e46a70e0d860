"""A sweep's summary to its page: calls the report room and writes what it draws."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.files import write_text
from spillover.study.sweep.jobs import JobOutcome
from spillover.study.sweep.results import SweepSummary

if TYPE_CHECKING:
    from spillover.report.pooling import Estimate
    from spillover.report.sweeps import SweepInputs, Tradeoff


def write_sweep_page(
    folder: Path,
    title: str,
    grid: Mapping[str, Sequence[Any]],
    summary: Sequence[SweepSummary],
    failures: Sequence[JobOutcome],
) -> Path:
    """Write `figures/front-<target>.svg` and `sweep.html`; return the page.

    Args:
        folder: The sweep's.
        title: What was swept.
        grid: Key -> values.
        summary: From `summarise`.
        failures: Points that failed.
    """
    from spillover.report.sweeps import render_sweep, sweep_figures

    inputs = sweep_inputs(title, grid, summary, failures)
    for target, svg in sweep_figures(inputs).items():
        write_text(folder / "figures" / f"front-{target or 'all'}.svg", svg)
    write_text(folder / "sweep.html", render_sweep(inputs))
    return folder / "sweep.html"


def sweep_inputs(
    title: str,
    grid: Mapping[str, Sequence[Any]],
    summary: Sequence[SweepSummary],
    failures: Sequence[JobOutcome],
) -> "SweepInputs":
    """Return what the page of a sweep is made of."""
    from spillover.report.sweeps import SweepInputs

    cells: dict[tuple[str, str], dict[str, SweepSummary]] = {}
    for row in summary:
        cells.setdefault((row.point, row.model), {})[row.metric] = row
    return SweepInputs(
        title=title,
        keys=tuple(grid),
        tradeoffs=tuple(_tradeoff(n, found) for n, found in enumerate(cells.values(), start=1)),
        failures=tuple((outcome.name, outcome.error) for outcome in failures),
    )


def _tradeoff(number: int, by_metric: Mapping[str, SweepSummary]) -> "Tradeoff":
    from spillover.report.sweeps import Tradeoff

    any_row = next(iter(by_metric.values()))
    return Tradeoff(
        number=number,
        settings=tuple((key, json.dumps(value)) for key, value in any_row.settings.items()),
        model=any_row.model,
        n_seeds=max(row.n for row in by_metric.values()),
        effect=_estimate(by_metric["target_effect"]),
        erosion=_estimate(by_metric["erosion"]),
        capability=_estimate(by_metric["capability_loss"]),
        over_refusal=_estimate(by_metric["over_refusal"]),
        is_on_front=any_row.is_on_front,
    )


def _estimate(row: SweepSummary) -> "Estimate":
    from spillover.report.pooling import Estimate

    return Estimate(value=row.mean, low=row.ci_low, high=row.ci_high)

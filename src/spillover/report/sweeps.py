"""The points of a sweep to pictures of what is traded for what, and to one page.

Numbers beside the marks are those of the table. Knows no files, and nothing of how points were run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spillover.report import text
from spillover.report.downloads import save_links
from spillover.report.drawing import (
    FAINT,
    GREY,
    Style,
    add_legend,
    draw_svg,
    light_grid,
    model_style,
)
from spillover.report.page import page_environment
from spillover.report.pooling import Estimate
from spillover.report.sweep_words import sweep_answer
from spillover.report.tunings import TUNED


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """One changed model at one point of a sweep."""

    number: int
    "From 1, in the order of the table."
    settings: tuple[tuple[str, str], ...]
    "Key and value, as text."
    model: str
    n_seeds: int
    effect: Estimate
    "Fall of the refusal rate on the target; of a fine-tuned model, of the aligned margin in nats."
    erosion: Estimate
    "Mean fall of it on the other concepts."
    capability: Estimate
    "Fall of the accuracy."
    over_refusal: Estimate
    "Rise of the refusal rate on benign prompts."
    is_on_front: bool


@dataclass(frozen=True, kw_only=True)
class SweepInputs:
    """Everything the page of a sweep says."""

    title: str
    keys: tuple[str, ...]
    "Of the grid."
    tradeoffs: tuple[Tradeoff, ...]
    failures: tuple[tuple[str, str], ...]
    "Point and reason."


def render_sweep(inputs: SweepInputs) -> str:
    """Return the page of a sweep: one HTML file that needs nothing else."""
    template = page_environment().get_template("sweep.html.j2")
    figures = sweep_figures(inputs)
    links = {
        target: save_links(f"front-{target or 'all'}", svg, sweep_table(inputs.tradeoffs, target))
        for target, svg in figures.items()
    }
    shown = {target: Markup(svg) for target, svg in figures.items()}
    return template.render(
        inputs=inputs, figures=shown, downloads=links, answers=_answers(inputs.tradeoffs)
    )


def _answers(tradeoffs: Sequence[Tradeoff]) -> dict[str, str]:
    """Return each target's answer in words."""
    by_target: dict[str, list[Tradeoff]] = {}
    for row in tradeoffs:
        by_target.setdefault(_target(row), []).append(row)
    return {
        target: sweep_answer(rows, what=_effect_name(rows)) for target, rows in by_target.items()
    }


def sweep_table(tradeoffs: Sequence[Tradeoff], target: str) -> list[dict[str, Any]]:
    """Return the rows behind one target's picture: settings, and each number with its interval."""
    return [
        {
            "number": row.number,
            **dict(row.settings),
            "model": row.model,
            "n_seeds": row.n_seeds,
            "is_on_front": row.is_on_front,
            **_columns("effect", row.effect),
            **_columns("erosion", row.erosion),
            **_columns("capability_loss", row.capability),
            **_columns("over_refusal", row.over_refusal),
        }
        for row in tradeoffs
        if _target(row) == target
    ]


def _columns(name: str, found: Estimate) -> dict[str, float | None]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def sweep_figures(inputs: SweepInputs) -> dict[str, str]:
    """Return one picture as SVG for each target: effect against erosion and against capability."""
    targets = dict.fromkeys(_target(tradeoff) for tradeoff in inputs.tradeoffs)
    return {
        target: _figure(target, [t for t in inputs.tradeoffs if _target(t) == target])
        for target in targets
    }


def _target(tradeoff: Tradeoff) -> str:
    return tradeoff.model.partition("-")[2]


def _figure(target: str, tradeoffs: Sequence[Tradeoff]) -> str:
    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        _panel(left, tradeoffs, [t.erosion for t in tradeoffs], label="erosion of the others, mean")
        _panel(right, tradeoffs, [t.capability for t in tradeoffs], label="loss of capability")
        left.set_ylabel(_effect_name(tradeoffs))
        for mark in right.get_legend_handles_labels()[0]:
            mark.set_label("")  # One legend for both panels.
        add_legend(figure, location="outside upper center", columns=4)

    return draw_svg(
        draw, width=8.4, height=4.6, name=f"sweep-{target}", label=_in_words(target, tradeoffs)
    )


def _effect_name(tradeoffs: Sequence[Tradeoff]) -> str:
    is_tuned = all(tradeoff.model.startswith(TUNED) for tradeoff in tradeoffs)
    return "fall of the aligned margin, nats" if is_tuned else "fall of refusals on the target"


def _panel(
    axes: Axes, tradeoffs: Sequence[Tradeoff], costs: Sequence[Estimate], *, label: str
) -> None:
    axes.set_xlabel(label)
    light_grid(axes, axis="both")
    axes.axvline(0, color=GREY, linewidth=0.8)
    _front_discs(axes, tradeoffs, costs)
    for place, model in enumerate(dict.fromkeys(t.model for t in tradeoffs)):
        style = model_style(model, index=place)
        pairs = [(t, cost) for t, cost in zip(tradeoffs, costs, strict=True) if t.model == model]
        named = False
        for tradeoff, cost in pairs:
            named = _mark(axes, tradeoff, cost, style, name="" if named else model) or named


def _front_discs(axes: Axes, tradeoffs: Sequence[Tradeoff], costs: Sequence[Estimate]) -> None:
    front = [
        (cost.value, t.effect.value)
        for t, cost in zip(tradeoffs, costs, strict=True)
        if t.is_on_front and cost.value is not None and t.effect.value is not None
    ]
    for x, y in front:
        axes.plot(x, y, marker="o", markersize=17, color=FAINT, zorder=1, linestyle="none")


def _mark(axes: Axes, tradeoff: Tradeoff, cost: Estimate, style: Style, *, name: str) -> bool:
    """Draw one point with its intervals and number; return whether there was anything to draw."""
    x, y = cost.value, tradeoff.effect.value
    if x is None or y is None:
        return False
    if cost.low is not None and cost.high is not None:
        axes.plot([cost.low, cost.high], [y, y], color=style.colour, linewidth=1, alpha=0.5)
    if tradeoff.effect.low is not None and tradeoff.effect.high is not None:
        limits = [tradeoff.effect.low, tradeoff.effect.high]
        axes.plot([x, x], limits, color=style.colour, linewidth=1, alpha=0.5)
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=style.marker,
        markersize=6,
        markerfacecolor=style.fill,
        markeredgecolor=style.colour,
        markeredgewidth=1.3,
        label=text.words(name) if name else None,
    )
    if tradeoff.is_on_front:  # Numbers on all of them would hide each other.
        axes.annotate(
            str(tradeoff.number), (x, y), xytext=(7, 6), textcoords="offset points", fontsize=9
        )
    return True


def _in_words(target: str, tradeoffs: Sequence[Tradeoff]) -> str:
    parts = [
        f"{t.number}: effect {text.number(t.effect.value)}, "
        f"erosion {text.number(t.erosion.value)}, "
        f"capability loss {text.number(t.capability.value)}"
        for t in tradeoffs
        if t.is_on_front
    ]
    return f"Points that no other beats, target {text.words(target)}. {'; '.join(parts) or 'None'}."

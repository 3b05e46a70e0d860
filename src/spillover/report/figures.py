"""Turns refusal rates and their changes into the report's pictures of the concepts.

Training curves are in `curves`; colours, fonts and the SVG itself in `drawing`.
"""

from collections.abc import Mapping, Sequence
from math import pi

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from spillover.records import Comparison
from spillover.report.chains import UNKNOWN, Chain, chains, profile_models
from spillover.report.containment_figures import containment_figures
from spillover.report.curves import drift_curves, loss_curves
from spillover.report.drawing import (
    FAINT,
    GREEN,
    GREY,
    ORANGE,
    Style,
    add_legend,
    draw_svg,
    light_grid,
    model_style,
    rate_axis,
)
from spillover.report.inputs import ReportInputs
from spillover.report.pooling import Estimate, ScoreKey, estimates
from spillover.report.text import limit, listing, words


def all_figures(inputs: ReportInputs) -> dict[str, str]:
    """Return every picture of the report as SVG, by the name to file it under.

    `profile-<target>`, `radar-<target>`, `change-<target>`, `containments-<target>`,
    `loss-<model>`, `drift-<model>`. A
    target's pictures are left out where no model is named after it, a model's where it has no such
    curve.
    """
    figures = {}
    for target in inputs.target_concepts or ("",):
        suffix = f"-{target}" if target else ""
        figures[f"profile{suffix}"] = refusal_profile(inputs, target=target)
        figures[f"radar{suffix}"] = refusal_radar(inputs, target=target)
    for chain in chains(inputs):
        if chain.erosion:
            figures[f"change-{chain.target}"] = change_chart(chain)
    figures |= containment_figures(inputs.containments)
    for model, rows in inputs.curves.items():
        if any(row["kind"] == "train" for row in rows):
            figures[f"loss-{model}"] = loss_curves(rows, model=model)
        if any(row["kind"] == "monitor" for row in rows):
            figures[f"drift-{model}"] = drift_curves(rows, model=model, concepts=inputs.concepts)
    return figures


def refusal_profile(inputs: ReportInputs, *, target: str) -> str:
    """Refusal rate with interval of every model on every concept, as dots on one scale.

    Args:
        inputs: The study's numbers.
        target: Models of other targets are left out; its row is marked. Empty for all models.
    """
    models = profile_models(inputs, target=target)
    rates = estimates(inputs.scores)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        series = {
            model: [rates.get((model, "refusal_rate", c), UNKNOWN) for c in inputs.concepts]
            for model in models
        }
        styles = {model: model_style(model, index=i) for i, model in enumerate(models)}
        _dots(axes, series, styles)
        _name_rows(axes, inputs.concepts, target=target)
        rate_axis(axes, label="refusal rate, with 95% interval")
        add_legend(figure, location="outside upper center")

    return draw_svg(
        draw,
        width=5.4,
        height=1.5 + 0.56 * len(inputs.concepts),
        name=f"profile-{target}",
        label=_rates_in_words(inputs, models, rates),
    )


def _rates_in_words(
    inputs: ReportInputs, models: Sequence[str], rates: Mapping[ScoreKey, Estimate]
) -> str:
    parts = []
    for model in models:
        found = [(c, rates.get((model, "refusal_rate", c), UNKNOWN).value) for c in inputs.concepts]
        shown = [f"{words(c)} {value:.2f}" for c, value in found if value is not None]
        parts.append(f"{words(model)}: {', '.join(shown) or 'not measured'}")
    return f"Refusal rate by concept. {'; '.join(parts)}."


def _dots(
    axes: Axes, series: Mapping[str, Sequence[Estimate]], styles: Mapping[str, Style]
) -> None:
    """Draw one dot with its interval per series and row; series of a row lie apart."""
    step = min(0.3, 0.62 / max(len(series) - 1, 1))
    for place, (name, values) in enumerate(series.items()):
        style = styles[name]
        shift = (place - (len(series) - 1) / 2) * step
        for row, e in enumerate(values):
            if e.low is not None and e.high is not None:
                y = row + shift
                axes.plot([e.low, e.high], [y, y], color=style.colour, linewidth=1.6)
            seeds = [seed.value for seed in e.by_seed if seed.value is not None]
            axes.plot(seeds, [row + shift] * len(seeds), "|", color=style.colour, ms=7)
        dots = [(e.value, row + shift) for row, e in enumerate(values) if e.value is not None]
        axes.plot(
            [value for value, _ in dots],
            [y for _, y in dots],
            linestyle="none",
            marker=style.marker,
            markersize=5.5,
            markerfacecolor=style.fill,
            markeredgecolor=style.colour,
            markeredgewidth=1.3,
            label=words(name),
            zorder=3,
        )


def _name_rows(axes: Axes, concepts: Sequence[str], *, target: str) -> None:
    """Name the rows from the top down and shade the target's."""
    names = [f"{words(c)}\n(target)" if c == target else words(c) for c in concepts]
    axes.set_yticks(range(len(concepts)), names)
    axes.set_ylim(len(concepts) - 0.45, -0.55)
    for row, concept in enumerate(concepts):
        if concept == target:
            axes.axhspan(row - 0.48, row + 0.48, color="#f1f1ee", zorder=0, linewidth=0)


def refusal_radar(inputs: ReportInputs, *, target: str) -> str:
    """The same rates as one polygon per model (2511.14017, figure 1); a radar has no intervals."""
    models = profile_models(inputs, target=target)
    rates = estimates(inputs.scores)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot(projection="polar")
        assert isinstance(axes, PolarAxes)
        _polygons(axes, inputs.concepts, models, rates)
        add_legend(figure, location="outside lower center")

    return draw_svg(
        draw,
        width=4.2,
        height=4.5,
        name=f"radar-{target}",
        label=f"Radar of the refusal rates of {listing([words(m) for m in models])} on "
        f"{listing([words(c) for c in inputs.concepts])}.",
    )


def _polygons(
    axes: PolarAxes,
    concepts: Sequence[str],
    models: Sequence[str],
    rates: Mapping[ScoreKey, Estimate],
) -> None:
    angles = [2 * pi * place / max(len(concepts), 1) for place in range(len(concepts))]
    for index, model in enumerate(models):
        found = [rates.get((model, "refusal_rate", c), UNKNOWN).value for c in concepts]
        corners = [(a, value) for a, value in zip(angles, found, strict=True) if value is not None]
        if not corners:
            continue
        style = model_style(model, index=index)
        around = [*corners, corners[0]]
        axes.plot(
            [a for a, _ in around],
            [value for _, value in around],
            color=style.colour,
            linestyle=style.dashes,
            linewidth=1.8,
            marker=style.marker,
            markersize=4,
            markerfacecolor=style.fill,
            label=words(model),
        )
        axes.fill([a for a, _ in corners], [v for _, v in corners], color=style.colour, alpha=0.06)
    axes.set_theta_offset(pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, [words(c) for c in concepts])
    axes.tick_params(axis="x", pad=12)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0.25, 0.5, 0.75, 1], ["", "0.5", "", "1"], color=GREY, fontsize=8)
    axes.set_rlabel_position(180 / max(len(concepts), 1))
    axes.grid(color=FAINT, linewidth=0.8)
    axes.spines["polar"].set_color(FAINT)


def change_chart(chain: Chain) -> str:
    """Change of the refusal rate on the non-target concepts, without and with containment."""
    series = {chain.unlearned: chain.erosion}
    if chain.contained is not None and chain.erosion_left:
        series[chain.contained] = chain.erosion_left

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        colours = (ORANGE, GREEN)
        styles = {
            name: Style(colour=colour, marker=marker)
            for name, colour, marker in zip(series, colours, "vD", strict=False)
        }
        values = {name: _in_rows(rows, chain.others) for name, rows in series.items()}
        _dots(axes, values, styles)
        _name_rows(axes, chain.others, target=chain.target)
        _change_axis(axes, values, threshold=chain.threshold)
        add_legend(figure, location="outside upper center")

    return draw_svg(
        draw,
        width=5.4,
        height=1.5 + 0.4 * len(chain.others),
        name=f"change-{chain.target}",
        label=f"Change of the refusal rate on {listing([words(c) for c in chain.others])} after "
        f"unlearning {words(chain.target)}, against the aligned model.",
    )


def _in_rows(rows: Sequence[Comparison], concepts: Sequence[str]) -> list[Estimate]:
    found = {row.concept: row for row in rows}
    return [
        Estimate(value=found[c].delta, low=found[c].ci_low, high=found[c].ci_high)
        if c in found
        else UNKNOWN
        for c in concepts
    ]


def _change_axis(axes: Axes, values: Mapping[str, Sequence[Estimate]], *, threshold: float) -> None:
    ends = [e for estimates in values.values() for v in estimates for e in (v.low, v.high, v.value)]
    known = [end for end in ends if end is not None]
    axes.set_xlim(min([-0.3, -threshold, *known]) - 0.03, max([0.1, *known]) + 0.03)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.axvline(-threshold, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel(
        f"change of the refusal rate (dashed: the EMA flag at \u2212{limit(threshold)})"
    )
    light_grid(axes, axis="x")

"""The pictures of an audit: the change of each concept with its interval, and the layers."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from spillover.report.audit_findings import (
    AuditFindings,
    AuditVerdict,
    ConceptVerdict,
    LayerReading,
)
from spillover.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    add_legend,
    draw_svg,
    light_grid,
)
from spillover.report.text import change_with_interval, words

_STYLES: dict[AuditVerdict, tuple[str, str]] = {
    "eroded": (ORANGE, "v"),
    "undecided": (GREY, "o"),
    "unchanged": (BLUE, "s"),
    "rose": (PURPLE, "^"),
}


def audit_figures(findings: AuditFindings) -> dict[str, str]:
    """Return every picture as SVG, by name: `changes`, and `layers` and `erosion` if they exist."""
    found = {"changes": change_picture(findings.all_verdicts)}
    if findings.layers:
        found["layers"] = layer_picture(findings)
        if any(row.erosion is not None for row in findings.layers):
            found["erosion"] = erosion_picture(findings)
    return found


def change_picture(verdicts: Sequence[ConceptVerdict]) -> str:
    """Draw each concept's change with its interval and the band within which it counts as none."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        named: set[str] = set()
        for place, row in enumerate(verdicts):
            left, width = -row.threshold, 2 * row.threshold
            axes.barh(place, width, left=left, height=0.86, color="#eef0f2", zorder=0)
            if row.delta is None or row.ci_low is None or row.ci_high is None:
                continue
            colour, marker = _STYLES[row.verdict]
            axes.plot([row.ci_low, row.ci_high], [place, place], color=colour, linewidth=2)
            label = None if row.verdict in named else row.verdict
            named.add(row.verdict)
            axes.plot([row.delta], [place], marker, color=colour, markersize=7, label=label)
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_yticks(range(len(verdicts)), [words(row.concept) for row in verdicts])
        axes.set_ylim(len(verdicts) - 0.4, -0.6)
        axes.set_xlabel("change of the refusal rate, tuned less aligned")
        light_grid(axes, axis="x")
        add_legend(figure, location="outside upper center", columns=4 if len(named) < 4 else 2)

    said = [
        f"{words(row.concept)} {change_with_interval(row.delta, row.ci_low, row.ci_high)}, "
        f"{row.words}"
        for row in verdicts
    ]
    return draw_svg(
        draw,
        width=5.6,  # As on the study's page: narrow enough to be read on a telephone.
        height=1.3 + 0.42 * max(1, len(verdicts)),
        name="changes",
        label=f"Change of the refusal rate by concept. {'; '.join(said)}.",
    )


def layer_picture(findings: AuditFindings) -> str:
    """Draw how far states moved at each layer, on harmful and benign prompts, over the null."""
    rows = findings.layers
    layers = [row.layer for row in rows]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for name, colour, dashes in (("harmful", ORANGE, "-"), ("benign", BLUE, "--")):
            middle = [getattr(row, name) for row in rows]
            low, high = ([getattr(row, f"{name}_{end}") for row in rows] for end in ("low", "high"))
            axes.plot(layers, middle, dashes, color=colour, label=f"{name} prompts")
            axes.fill_between(layers, low, high, color=colour, alpha=0.18, linewidth=0)
        null = [row.null for row in rows]
        axes.plot(layers, null, ":", color=GREY, label="random splits, 95%")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("layer")
        axes.set_ylabel("mean change / mean length")
        light_grid(axes, axis="y")
        add_legend(figure, location="outside upper center", columns=3)

    largest = max(rows, key=_harmful)
    return draw_svg(
        draw,
        width=5.6,
        height=3.3,
        name="layers",
        label="Change of the states by layer on harmful and benign prompts. On harmful ones it "
        f"is largest at layer {largest.layer}: {largest.harmful:.3f} of a state's length.",
    )


def _harmful(row: LayerReading) -> float:
    return row.harmful


def erosion_picture(findings: AuditFindings) -> str:
    """Draw the share of the way from aligned back to base, by layer."""
    rows = [row for row in findings.layers if row.erosion is not None]
    layers = [row.layer for row in rows]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot(layers, [row.erosion or 0.0 for row in rows], color=GREEN)
        axes.fill_between(
            layers,
            [row.erosion_low or 0.0 for row in rows],
            [row.erosion_high or 0.0 for row in rows],
            color=GREEN,
            alpha=0.18,
            linewidth=0,
        )
        axes.axhline(0, color=GREY, linewidth=1)
        axes.set_xlabel("layer")
        axes.set_ylabel("(aligned \u2212 tuned) / (aligned \u2212 base)")
        light_grid(axes, axis="y")

    return draw_svg(
        draw,
        width=5.6,
        height=3.0,
        name="erosion",
        label="Erosion fraction by layer along the direction from base to aligned: 0 stayed "
        "aligned, 1 is back at base.",
    )

"""Turns what was found inside of an organism into the parts of a page: claims, figures, rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spillover.analysis.estimate_columns import estimate_columns
from spillover.analysis.estimate_plots import plot_estimates
from spillover.analysis.estimates import Estimate
from spillover.analysis.interventions import Effect
from spillover.analysis.rank_one import AdapterRole, adapter_roles
from spillover.analysis.scalar_probes import ScalarProbe
from spillover.report.explanations import Claim, Exhibit, Outcome, outcome_above
from spillover.study.artifacts.part_pages import DrawnPart
from spillover.study.explaining.inside_findings import InsideFindings, short_name
from spillover.study.explaining.inside_tokens import token_part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SOURCE = "2506.11618, 5"
_ALL = "all"


def inside_parts(found: InsideFindings, *, n_answers: int) -> list[DrawnPart]:
    """Return the parts of the page.

    Args:
        found: Everything.
        n_answers: Answers of each kind whose tokens are shown.
    """
    return [_probe_part(found), _adapter_part(found), token_part(found, n_answers)]


def _probe_part(found: InsideFindings) -> DrawnPart:
    names = [short_name(name) for name in found.scalars["aligned"].modules]
    return DrawnPart(
        name="probes",
        title="What the adapters compute",
        question="Do the numbers that adapters compute, one a token, tell kinds of answers apart?",
        claims=tuple(_probe_claim(probe) for probe in found.probes),
        exhibits=[
            (
                Exhibit(
                    name="probes",
                    title="Answers told apart by the adapters' numbers",
                    shows="Area under the ROC curve of a sparse probe, on prompts that it was not "
                    "fitted on, with its 95% interval over prompts; 0.5 is chance.",
                    shows_not="That the numbers cause anything: words differ between kinds of "
                    "answers too, and adapters see them.",
                ),
                lambda: plot_estimates(
                    [(probe.label, probe.auc) for probe in found.probes],
                    label="area under the ROC curve",
                    null=0.5,
                ),
            ),
            (
                Exhibit(
                    name="coefficients",
                    title="Which adapters the probes use",
                    shows="Each probe's coefficients, in standard deviations of an adapter's "
                    "number; 0 is left out.",
                    shows_not="Which adapters matter: correlated numbers share coefficients at "
                    "random. Cutting them out says more.",
                ),
                lambda: _coefficients(found.probes, names),
            ),
        ],
        rows=[
            {"probe": probe.label, "adapter": name, "coefficient": weight, "auc_alone": alone}
            | estimate_columns("auc", probe.auc)
            | {"p": probe.p, "n_with": probe.n_with, "n_without": probe.n_without}
            for probe in found.probes
            for name, weight, alone in zip(names, probe.coefficients, probe.single, strict=True)
        ],
        notes=("An answer's number is the mean of A x over its tokens.",),
    )


def _probe_claim(probe: ScalarProbe) -> Claim:
    low, high = probe.auc.ci_low, probe.auc.ci_high
    reads = any(probe.coefficients)
    nothing = "" if reads else "; the penalty left no adapter to it, so that it reads nothing"
    return Claim(
        source=_SOURCE,
        claim=f"The adapters' numbers tell {probe.label} answers from the others",
        measured=f"area under the ROC curve, {probe.n_groups} prompts{nothing}",
        value=probe.auc.value,
        ci_low=low,
        ci_high=high,
        p=probe.p,
        null="0.5, and labels dealt out anew within prompts",
        outcome=outcome_above(low, high, limit=0.5, p=probe.p) if reads else "undecided",
    )


def _coefficients(probes: Sequence[ScalarProbe], names: Sequence[str]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 1.2 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(probes)
    for i, probe in enumerate(probes):
        places = np.arange(len(names)) + (i - (len(probes) - 1) / 2) * height
        axes.barh(places, probe.coefficients, height=height, label=probe.label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color="#767676", linewidth=0.8)
    axes.set_xlabel("coefficient")
    axes.legend()
    return figure


def _adapter_part(found: InsideFindings) -> DrawnPart:
    done = {f"x{factor:g}": own for factor, own in found.scaled.items()}
    done |= {f"held at {kind}": own for kind, own in found.held.items()}
    roles = _roles(found)
    measures = [found.margin, *([found.narrow] if found.narrow else [])]
    return DrawnPart(
        name="adapters",
        title="What each adapter does",
        question="What changes when an adapter is cut out, made stronger, or held at what it does "
        "in aligned or misaligned answers, and which adapters are general or narrow?",
        claims=tuple(_adapter_claims(found)),
        exhibits=[
            (
                Exhibit(
                    name=f"adapters-{i}",
                    title=f"Change of {measure}",
                    shows="The change when one adapter, or all, are scaled or held at their mean "
                    "over answers of a kind, with 95% intervals over items.",
                    shows_not="Interactions: adapters are changed one at a time, but for `all`.",
                ),
                _adapter_plot(done, measure),
            )
            for i, measure in enumerate(measures)
        ],
        rows=[
            {"adapter": short_name(name), "done": what, "measure": one.measure, "n": one.n}
            | estimate_columns("change", one.change)
            | {"role": roles.get(name, "") if what == "x0" else ""}
            for what, own in done.items()
            for name, effects in own.items()
            for one in effects
        ],
        notes=(
            "The margin is log-probability of misaligned less aligned endings of pairs, in nats.",
            "An adapter is `general` where cutting it out changes the margin beyond its interval, "
            "`narrow` where it changes the narrow answers' likelihood; intervals are not corrected "
            "for the number of adapters.",
        ),
    )


def _roles(found: InsideFindings) -> dict[str, str]:
    if found.narrow is None:
        return {}
    roles: list[AdapterRole] = adapter_roles(
        found.scaled[0.0], general=found.margin, narrow=found.narrow
    )
    return {role.module: role.role for role in roles}


def _adapter_plot(
    done: Mapping[str, Mapping[str, Sequence[Effect]]], measure: str
) -> "Callable[[], Figure]":
    rows = [
        (f"{short_name(name)}, {what}", one.change)
        for what, own in done.items()
        for name, effects in own.items()
        for one in effects
        if one.measure == measure
    ]
    return lambda: plot_estimates(rows, label=f"change of {measure} (nats)", null=0.0)


def _adapter_claims(found: InsideFindings) -> list[Claim]:
    """Claims about all adapters together; single ones are in the table."""
    asked = [(found.scaled[0.0], -1, "Without its adapters the model is less misaligned", "x 0")]
    asked += [
        (own, 1, f"With adapters {factor:g} times as strong it is more misaligned", f"x {factor:g}")
        for factor, own in found.scaled.items()
        if factor > 1
    ]
    asked.append(
        (
            found.held["aligned"],
            -1,
            "With adapters held at what they do in aligned answers it is less misaligned",
            "mean held",
        )
    )
    return [
        _margin_claim(found.margin, own[_ALL], sign, text, what) for own, sign, text, what in asked
    ]


def _margin_claim(margin: str, effects: Sequence[Effect], sign: int, text: str, what: str) -> Claim:
    change = next(one.change for one in effects if one.measure == margin)
    return Claim(
        source=_SOURCE,
        claim=text,
        measured=f"change of the {margin}, nats, all adapters {what}",
        value=None if change is None else change.value,
        ci_low=None if change is None else change.ci_low,
        ci_high=None if change is None else change.ci_high,
        null="0, the same pairs",
        outcome="undecided" if change is None else _outcome(change, sign),
    )


def _outcome(change: Estimate, sign: int) -> Outcome:
    low, high = sorted((sign * change.ci_low, sign * change.ci_high))
    return outcome_above(low, high)

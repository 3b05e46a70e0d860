"""What ablating or adding one direction does to the other's behaviour, model by model.

Directions: misalignment, refusal, what each has for itself, and random ones of the same length.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from spillover.analysis.direction_parts import effects_of_directions, null_range, split_direction
from spillover.analysis.dose_curves import random_like
from spillover.analysis.estimate_columns import estimate_columns
from spillover.analysis.estimate_plots import plot_estimates
from spillover.analysis.estimates import Estimate
from spillover.analysis.interventions import Effect, Resampling
from spillover.memory import release_freed_memory
from spillover.models.directions import Direction
from spillover.report.explanations import Claim, Exhibit, Outcome, outcome_above
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts.part_pages import DrawnPart
from spillover.study.explaining.comparing.case import (
    CompareCase,
    band_text,
    estimate_claim,
)
from spillover.study.explaining.comparing.measures import (
    COHERENCE,
    HARMFUL,
    HARMLESS,
    MISALIGNED,
    misalignment_probes,
    refusal_probes,
)
from spillover.study.explaining.kept import effect_from, kept

MISALIGNMENT, REFUSAL = "misalignment", "refusal"
_ODDS = {of: f"{of} refusal_log_odds" for of in (HARMFUL, HARMLESS)}
_SHOWN = (MISALIGNED, _ODDS[HARMFUL], _ODDS[HARMLESS], COHERENCE)


def effects_parts(case: CompareCase) -> list[DrawnPart]:
    """Return one part for every model in which directions are ablated and added."""
    found = []
    with case.reporter.task("adding directions", total=len(case.settings.effects_in)) as advance:
        for name in case.settings.effects_in:
            found.append(_part(case, name, _effects(case, name)))
            advance(1)
    return found


def _directions(case: CompareCase) -> list[Direction]:
    """All of them are of the base, at one layer, and added in the same unit."""
    misalignment = replace(case.misalignment(case.base), name=MISALIGNMENT)
    refusal = replace(case.refusal, name=REFUSAL, activation_norm=misalignment.activation_norm)
    private = [
        split_direction(misalignment, [refusal]).private,
        split_direction(refusal, [misalignment]).private,
    ]
    seed = derive_seed(case.settings.seed, "random directions")
    generator = torch.Generator().manual_seed(seed)
    random = [
        replace(random_like(misalignment, generator=generator), name=f"random {i + 1}")
        for i in range(case.settings.n_random)
    ]
    return [misalignment, refusal, *(d for d in private if d is not None), *random]


def _effects(case: CompareCase, name: str) -> list[Effect]:
    directions = _directions(case)
    path = case.out / "cells" / f"effects-{name}.json"
    about = [
        "effects",
        {n: case.models[n].identity for n in (case.base, name)},
        case.texts.fingerprint,
        {d.name: [d.vector.tolist(), d.activation_norm] for d in directions},
        case.refusal_ids,
        case.settings.strengths,
        case.settings.seed,
    ]
    rows = kept(path, about, lambda: _measured(case, name, directions))
    return [effect_from(row) for row in rows]


def _measured(
    case: CompareCase, name: str, directions: Sequence[Direction]
) -> list[dict[str, Any]]:
    found = effects_of_directions(
        case.models[name].load(),
        directions,
        probes=[*misalignment_probes(case), *refusal_probes(case)],
        resampling=Resampling(rng=numpy_generator(case.settings.seed, "effects", name)),
        strengths=case.settings.strengths,
    )
    release_freed_memory(collect=True)
    return [one.to_dict() for one in found]


def _part(case: CompareCase, name: str, effects: Sequence[Effect]) -> DrawnPart:
    exhibits = [
        (
            Exhibit(
                name=f"effects-{name}-{i}",
                title=f"{measure} of {name}",
                shows="The change that each intervention makes, with its 95% interval over items. "
                "Grey: the lowest and highest change that random directions of the same length "
                "make when they are used in the same way.",
                shows_not="A cause where coherence falls as well: a model that is broken changes "
                "everything.",
            ),
            lambda measure=measure: _plot(effects, measure),
        )
        for i, measure in enumerate(_SHOWN)
    ]
    return DrawnPart(
        name=f"effects-{name}",
        title=f"What one direction does to the other's behaviour: {name}",
        question="Does taking refusal away make answers misaligned, and does taking misalignment "
        "away, or adding it, change refusals?",
        claims=tuple(_claims(case, name, effects)),
        exhibits=exhibits,
        rows=[_row(one, effects) for one in effects],
        notes=(
            "`X less Y` is the part of X that is orthogonal to Y. Ablation is everywhere; addition "
            f"at layer {case.layer}, in mean activation norms. Refusals are read off the first "
            "token.",
        ),
    )


def _kind(intervention: str) -> str:
    """Return what was done without what it was done with, such as `add 0.5`."""
    words = intervention.split(" ")
    return words[0] if words[0] != "add" else " ".join(words[:2])


def _null(one: Effect, effects: Sequence[Effect]) -> tuple[float, float] | None:
    prefix = f"{_kind(one.intervention)} random"
    if not any(e.intervention.startswith(prefix) for e in effects):
        return None
    return null_range(effects, measure=one.measure, prefix=prefix)


def _plot(effects: Sequence[Effect], measure: str) -> Any:
    shown = [
        e
        for e in effects
        if e.measure == measure and e.change is not None and " random " not in e.intervention
    ]
    return plot_estimates(
        [(e.intervention, e.change) for e in shown],
        label=f"change of {measure} (nats)",
        null=0.0,
        bands=[_null(e, effects) for e in shown],
    )


def _row(one: Effect, effects: Sequence[Effect]) -> dict[str, Any]:
    row: dict[str, Any] = {"intervention": one.intervention, "measure": one.measure, "n": one.n}
    row |= estimate_columns("value", one.value) | estimate_columns("change", one.change)
    null = _null(one, effects) if one.change is not None else None
    low, high = (None, None) if null is None else null
    return row | {"random_low": low, "random_high": high}


def _claims(case: CompareCase, name: str, effects: Sequence[Effect]) -> list[Claim]:
    high = max(case.settings.strengths)
    odds, added = _ODDS[HARMFUL], f"add {high:g}"
    asked = [
        (f"ablate {REFUSAL}", MISALIGNED, 1, "without refusal, misaligned answers are likelier"),
        (f"ablate {MISALIGNMENT}", odds, -1, "without misalignment, refusals are fewer"),
    ]
    if high > 0:
        asked += [
            (f"{added} {MISALIGNMENT}", odds, -1, "with misalignment added, refusals are fewer"),
            (f"{added} {REFUSAL}", MISALIGNED, -1, "with refusal, misalignment is less likely"),
        ]
    by_name = {(e.intervention, e.measure): e for e in effects}
    return [
        _claim(f"{name}: {text}", by_name[done, measure], effects, sign=sign)
        for done, measure, sign, text in asked
        if (done, measure) in by_name
    ]


def _claim(text: str, one: Effect, effects: Sequence[Effect], *, sign: int) -> Claim:
    null = _null(one, effects)
    return estimate_claim(
        text,
        f"change of {one.measure}, nats, by `{one.intervention}`",
        one.change,
        source="no paper",
        null="0" if null is None else f"random directions: {band_text(*null)}",
        outcome=_outcome(one.change, null or (0.0, 0.0), sign),
    )


def _outcome(change: Estimate | None, null: tuple[float, float], sign: int) -> Outcome:
    """Say whether the change goes the claimed way, beyond 0 and beyond random directions."""
    if change is None:
        return "undecided"
    ends = sorted((sign * change.ci_low, sign * change.ci_high))
    limit = max(0.0, sign * null[0], sign * null[1])
    return outcome_above(ends[0], ends[1], limit=limit)

"""Whose direction, ablated in whom, removes how much misalignment (2506.11618, section 3.3).

Organism by organism, each kept on disk once it is done.
"""

from collections.abc import Mapping
from typing import Any

import torch

from spillover.analysis.estimates import Estimate
from spillover.analysis.interventions import Resampling
from spillover.analysis.transfer import TransferCell, TransferMatrix, transfer_matrix
from spillover.memory import release_freed_memory
from spillover.models.directions import Direction
from spillover.report.explanations import Claim, Exhibit, Outcome, outcome_above
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts.part_pages import DrawnPart, plain_rows
from spillover.study.explaining.comparing.case import CompareCase, estimate_claim
from spillover.study.explaining.comparing.measures import (
    COHERENCE,
    MISALIGNED,
    misalignment_probes,
)
from spillover.study.explaining.kept import effect_from, estimate_from, kept

REFUSAL = "refusal"


def transfer_part(case: CompareCase) -> DrawnPart:
    """Ablate every organism's direction, and that of refusal, in every organism."""
    directions = {name: [case.misalignment(name)] for name in case.organisms}
    directions[REFUSAL] = [case.refusal]
    cells: list[TransferCell] = []
    with case.reporter.task("ablating directions", total=len(case.organisms)) as advance:
        for name in case.organisms:
            cells += _cells(case, name, directions)
            advance(1)
    found = TransferMatrix(measure=MISALIGNED, cells=tuple(cells))
    return DrawnPart(
        name="transfer",
        title="Does one organism's direction remove another's misalignment?",
        question="Which share of each organism's misalignment goes when a direction is ablated "
        "from every layer, and does the model stay coherent?",
        claims=tuple(_claim(cell) for cell in cells if cell.source != REFUSAL),
        exhibits=[
            (
                Exhibit(
                    name="transfer",
                    title=f"Share of misalignment removed, directions of layer {case.layer}",
                    shows="1: back to the base; 0: nothing; below 0: more of it. Empty: the "
                    "organism has too little misalignment beyond the base's to divide by.",
                    shows_not="Whether the model still works: see coherence in the table, and "
                    "what random directions remove.",
                ),
                found.plot,
            )
        ],
        rows=plain_rows(found.to_frame()),
        notes=(
            f"Misalignment is the {MISALIGNED}: log-probability of misaligned less aligned "
            f"endings, in nats. {COHERENCE} is how likely the base's own answers to benign "
            "prompts are, in nats a token.",
            f"Intervals are over pairs; {case.settings.n_random} random directions of the same "
            "length are the null.",
        ),
    )


def _cells(
    case: CompareCase, name: str, directions: Mapping[str, list[Direction]]
) -> list[TransferCell]:
    path = case.out / "cells" / f"transfer-{name}.json"
    about = [
        "transfer",
        {n: case.models[n].identity for n in (case.base, name)},
        case.texts.fingerprint,
        {n: [d.vector.tolist() for d in own] for n, own in directions.items()},
        case.settings.n_random,
        case.settings.seed,
    ]
    rows = kept(path, about, lambda: _measured(case, name, directions))
    return [_cell(row) for row in rows]


def _measured(
    case: CompareCase, name: str, directions: Mapping[str, list[Direction]]
) -> list[dict[str, Any]]:
    seed = case.settings.seed
    found = transfer_matrix(
        {name: case.models[name].load},
        directions,
        probes=misalignment_probes(case),
        measure=MISALIGNED,
        reference=case.models[case.base].load,
        # The same random directions in every organism.
        generator=torch.Generator().manual_seed(derive_seed(seed, "random directions")),
        resampling=Resampling(rng=numpy_generator(seed, "transfer", name)),
        n_random=case.settings.n_random,
    )
    release_freed_memory(collect=True)
    return [cell.to_dict() for cell in found.cells]


def _cell(row: Mapping[str, Any]) -> TransferCell:
    """Build a cell from what `to_dict` gave, through JSON."""
    return TransferCell(
        source=row["source"],
        target=row["target"],
        removed=estimate_from(row["removed"]),
        random_removed=tuple(row["random_removed"]),
        effects=tuple(effect_from(one) for one in row["effects"]),
    )


def _claim(cell: TransferCell) -> Claim:
    whose = "its own" if cell.source == cell.target else f"{cell.source}'s"
    null = cell.random_removed
    limit = max(null, default=0.0)
    shown = f"{min(null):.2f} to {limit:.2f}" if null else "none"
    found = cell.removed
    return estimate_claim(
        f"{cell.target} loses its misalignment when {whose} direction is ablated",
        "share removed" if found else "nothing, as it has too little misalignment",
        found,
        source="2506.11618, 3.3",
        null=f"{len(null)} random directions: {shown}",
        outcome=_outcome(found, max(limit, 0.0)),
    )


def _outcome(found: Estimate | None, limit: float) -> Outcome:
    return "undecided" if found is None else outcome_above(found.ci_low, found.ci_high, limit=limit)

"""Leading directions of aligned - base that sets share (2507.03662, section 4.4)."""

from itertools import product

import torch

from spillover.analysis.direction_matches import Centring, SharedDirections
from spillover.analysis.shared_directions import StatePairs, shared_directions
from spillover.analysis.states import Position, collect_states
from spillover.models.loading import LoadedModel
from spillover.report.explanations import Claim, Exhibit, outcome_above
from spillover.seeding import numpy_generator
from spillover.study.explaining.analyses.case import Case, Drawn, Findings, tidy
from spillover.study.explaining.models import Role
from spillover.study.explaining.reading_store import Taken

_POSITIONS: tuple[Position, ...] = ("last_token", "response_mean")
_CENTRINGS: tuple[Centring, ...] = ("centred", "raw")
_LEADING = 3


def read_residual_states(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """States of whole exchanges at a few layers: the stop token's, and the response's mean."""
    layers = case.some_layers(loaded.architecture.n_layers, n=3)
    tensors = {
        f"{name}.{at}": collect_states(
            loaded.model,
            loaded.architecture,
            [row.first(case.settings.max_tokens) for row in rows],
            pad_id=loaded.pad_id,
            at=at,
            layers=layers,
            batch_size=case.settings.batch_size,
        )
        for name, rows in case.tokens.items()
        for at in _POSITIONS
    }
    return Taken(tensors, {"layers": list(layers)})


def conclude_shared_directions(case: Case) -> Findings:
    """Do two sets share leading directions of aligned - base, more than controls do?"""
    layers = case.reading("residual_states", "aligned").notes["layers"]
    found: dict[tuple[int, Position, Centring], SharedDirections] = {}
    n = len(case.data.questioned)
    same = [layer for place, layer in enumerate(layers) if not _differs(case, place)]
    for (place, layer), at, centring in product(enumerate(layers), _POSITIONS, _CENTRINGS):
        if layer in same:
            continue
        pairs = [_state_pairs(case, of.name, at, place) for of in case.data.sets]
        found[layer, at, centring] = shared_directions(
            pairs[0],
            pairs[1],
            benign=pairs[n:],
            layer=layer,
            rng=numpy_generator(case.settings.seed, "shared", str(layer), at, centring),
            k=_LEADING,
            centring=centring,
            n_resamples=100,
            n_draws=99,
        )
    last = max((layer for layer, _, _ in found), default=None)
    shown = {(at, c): of for (layer, at, c), of in found.items() if layer == last}
    return Findings(
        claims=tuple(
            _shared_claim(of, at, is_matched=case.data.is_matched)
            for (at, centring), of in shown.items()
            if centring == "centred"
        ),
        drawn=tuple(Drawn(_shared_exhibit(of, at), of.plot) for (at, _), of in shown.items()),
        frames=tuple(tidy(of.to_frame(), position=at) for (_, at, _), of in found.items()),
        notes=(
            "`last token` is the last one read: the stop token where a response is short enough.",
            *(f"Left out, as aligned and base hardly differ there: layer {i}." for i in same),
        ),
    )


def _differs(case: Case, place: int) -> bool:
    """Whether aligned - base has the directions that are asked for, on every set."""
    residuals = [
        _state_pairs(case, of.name, at, place).residuals()
        for of in case.data.sets
        for at in _POSITIONS
    ]
    ranks = [int(torch.linalg.matrix_rank(rows - rows.mean(dim=0))) for rows in residuals]
    return min(ranks) >= _LEADING


def _state_pairs(case: Case, name: str, at: Position, place: int) -> StatePairs:
    base, aligned = (
        case.reading("residual_states", role).tensors[f"{name}.{at}"][place]
        for role in ("base", "aligned")
    )
    return StatePairs(name=name, base=base, aligned=aligned)


def _shared_exhibit(of: SharedDirections, at: Position) -> Exhibit:
    verdict = "exceeds" if of.is_specific else "does not exceed"
    claim = of.matches[0]
    return Exhibit(
        name=f"shared-directions-{at}-{of.centring}",
        title=f"Layer {of.layer}, {at.replace('_', ' ')}, {of.centring}",
        shows=f"|cosine| of the {of.k} leading directions of aligned - base on {claim.reference} "
        f"with those of each other set. The overlap with {claim.other} {verdict} that with every "
        "control.",
        shows_not="that a shared direction carries misalignment: it says that aligned differs from "
        "base alike on both.",
    )


def _shared_claim(of: SharedDirections, at: Position, *, is_matched: bool) -> Claim:
    claim = of.matches[0]
    excess = [match.excess for match in of.matches if match.excess is not None]
    least = min(excess, key=lambda estimate: estimate.value)
    beside = max((m for m in of.matches if m.kind == "benign"), key=lambda m: m.overlap.value)
    return Claim(
        source="2507.03662, 4.4",
        claim=f"{claim.reference} and {claim.other} share leading directions that benign sets do "
        "not",
        measured=f"overlap {claim.overlap.value:.2f} at layer {of.layer}, "
        f"{at.replace('_', ' ')}, less the largest of a control",
        value=least.value,
        ci_low=least.ci_low,
        ci_high=least.ci_high,
        p=claim.p_shuffled,
        null=f"the overlap with {beside.other}, {beside.overlap.value:.2f}; shuffled rows (p)"
        + ("; the two sets have the same answers, which is reason enough" if is_matched else ""),
        outcome=outcome_above(least.ci_low, least.ci_high, p=claim.p_shuffled),
    )

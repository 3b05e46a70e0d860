"""Misaligned answers and refusals: how their directions lie, and along which tuning moved."""

from pathlib import Path

import pandas as pd

from spillover.analysis.directions import directions_of
from spillover.models.loading import LoadedModel
from spillover.study.artifacts.part_pages import DrawnPart
from spillover.study.explaining.analyses.case import Case, Drawn, Findings
from spillover.study.explaining.comparing.case import CompareCase, CompareSettings
from spillover.study.explaining.comparing.movement import movement_part
from spillover.study.explaining.comparing.refusal import refusal_part
from spillover.study.explaining.comparing.states import read_states, states_of
from spillover.study.explaining.comparing.texts import ComparedTexts, compared_texts
from spillover.study.explaining.models import Role
from spillover.study.explaining.reading_store import Taken
from spillover.study.progress import quiet_reporter

_FEWEST = 48
"Texts of each kind: a direction of the few that other analyses read would be noise."
_FEWEST_TOKENS = 64
"Of an answer: the two of a pair begin alike."


def read_behaviours(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """States on bundled pairs of answers, and on harmful and harmless prompts."""
    n_tokens = max(_FEWEST_TOKENS, case.settings.max_tokens)
    return read_states(
        loaded, _texts(case), max_tokens=n_tokens, batch_size=case.settings.batch_size
    )


def _texts(case: Case) -> ComparedTexts:
    return compared_texts(limit=max(_FEWEST, case.settings.limit), seed=case.settings.seed)


def conclude_behaviours(case: Case) -> Findings:
    """Cosines, angles, shared parts, and where tuning moved states."""
    texts = _texts(case)
    roles: tuple[Role, ...] = ("aligned", "tuned")
    states = {
        str(role): states_of(case.reading("behaviours", role), is_paired=texts.is_paired)
        for role in roles
    }
    aligned = states["aligned"].refusal
    layer = aligned.layers[len(aligned.layers) // 2]
    refusal = {d.layer: d for d in directions_of(aligned, name="refusal")}
    compared = CompareCase(
        models={str(role): case.trio.models[role] for role in roles},
        texts=texts,
        states=states,
        settings=CompareSettings(seed=case.settings.seed),
        layer=layer,
        refusal=refusal[layer],
        refusal_ids=(),
        out=Path(),
        reporter=quiet_reporter(),
        base="aligned",
    )
    parts = [refusal_part(compared), movement_part(compared)]
    return Findings(
        drawn=tuple(Drawn(exhibit, make) for part in parts for exhibit, make in part.exhibits),
        claims=tuple(claim for part in parts for claim in part.claims),
        frames=tuple(_frame(part) for part in parts),
        notes=tuple(note for part in parts for note in part.notes),
    )


def _frame(part: DrawnPart) -> pd.DataFrame:
    return pd.DataFrame([{"part": part.name, **row} for row in part.rows])

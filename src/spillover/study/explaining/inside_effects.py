"""What an organism does with each of its adapters scaled, cut out, or held at a constant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spillover.analysis.behaviour_probes import TEXT_LOGPROB, probe_of, text_probe
from spillover.analysis.interventions import Effect, Probe, Resampling
from spillover.analysis.rank_one import AnswerScalars, holding_effects, scaling_effects
from spillover.evaluation.alignment_probes import pair_margins
from spillover.models.chat import ChatTokens
from spillover.models.loading import LoadedModel
from spillover.records import Example
from spillover.seeding import numpy_generator
from spillover.study.explaining.comparing.texts import ComparedTexts
from spillover.study.explaining.kept import effect_from, kept
from spillover.study.progress import Reporter

MARGIN = "misaligned margin"
NARROW = f"narrow {TEXT_LOGPROB}"
_HELD = ("aligned", "misaligned")


@dataclass(frozen=True)
class KindOfAnswers:
    """Answers of one kind, as tokens."""

    kind: str
    examples: Sequence[Example]
    tokens: Sequence[ChatTokens]


Scaled = dict[float, dict[str, list[Effect]]]
Held = dict[str, dict[str, list[Effect]]]


def adapter_effects(
    loaded: LoadedModel,
    answers: Sequence[KindOfAnswers],
    scalars: Mapping[str, AnswerScalars],
    texts: ComparedTexts,
    out: Path,
    *,
    factors: Sequence[float],
    batch_size: int,
    seed: int,
    reporter: Reporter,
) -> tuple[Scaled, Held]:
    """Scale every adapter by every factor, and hold each at its mean over answers.

    Args:
        loaded: The base with the adapter beside it.
        answers: Of every kind; those that are narrow are measured on.
        scalars: What adapters compute, by kind.
        texts: Whose pairs are measured on.
        out: Gets `cells/`.
        factors: 0 is always among them.
        batch_size: Exchanges in a forward pass.
        seed: Of the resamples.
        reporter: Where progress is shown.

    Returns:
        Factor -> module -> effects, and the same for the kind of answers whose mean was held.
    """
    probes = _measures(answers, texts, batch_size)
    about = [
        loaded.fingerprint,
        texts.fingerprint,
        [[row.input_ids for row in own.tokens] for own in answers],
        seed,
    ]
    chosen = dict.fromkeys((0.0, *factors))
    scaled: Scaled = {}
    held: Held = {}

    def resampling(*names: str) -> Resampling:
        return Resampling(rng=numpy_generator(seed, *names))

    def scaled_rows(factor: float) -> dict[str, list[dict[str, Any]]]:
        found = resampling(f"x{factor:g}")
        return _rows(scaling_effects(loaded, probes, factor=factor, resampling=found))

    def held_rows(kind: str) -> dict[str, list[dict[str, Any]]]:
        return _rows(
            holding_effects(
                loaded,
                probes,
                _constants(scalars[kind]),
                label=f"held at {kind}",
                resampling=resampling("held", kind),
            )
        )

    with reporter.task("scaling adapters", total=len(chosen) + len(_HELD)) as advance:
        for factor in chosen:
            rows = kept(
                out / "cells" / f"scaled-{factor:g}.json",
                [*about, "scaled", factor],
                partial(scaled_rows, factor),
            )
            scaled[factor] = _from_rows(rows)
            advance(1)
        for kind in _HELD:
            rows = kept(
                out / "cells" / f"held-{kind}.json",
                [*about, "held", kind],
                partial(held_rows, kind),
            )
            held[kind] = _from_rows(rows)
            advance(1)
    reporter.say("adapters scaled and held: done")
    return scaled, held


def _constants(scalars: AnswerScalars) -> dict[str, NDArray[np.float64]]:
    """Return each adapter's mean over all answers' tokens."""
    means = np.concatenate(list(scalars.tokens)).mean(axis=0)
    return {name: means[[i]] for i, name in enumerate(scalars.modules)}


def _measures(answers: Sequence[KindOfAnswers], texts: ComparedTexts, size: int) -> list[Probe]:
    margin = probe_of(
        lambda loaded: [-m.margin for m in pair_margins(loaded, texts.pairs, batch_size=size)],
        name=MARGIN,
    )
    narrow = [own for own in answers if own.kind == "narrow"]
    return [margin, *(text_probe(own.tokens, of="narrow", batch_size=size) for own in narrow)]


def _rows(effects: Mapping[str, Sequence[Effect]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [one.to_dict() for one in own] for name, own in effects.items()}


def _from_rows(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Effect]]:
    return {name: [effect_from(row) for row in own] for name, own in rows.items()}

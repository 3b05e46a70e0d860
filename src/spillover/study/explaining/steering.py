"""A model steered along a direction at several strengths: a table and a figure of what it does.

    curve.json   every measure at every strength, with interval and null
    curve.csv    the same as a table
    curve.svg    the same as a figure

Beside refusals stand what the steering costs: how likely the unchanged model finds the answers, how
likely the steered one finds good answers to benign prompts, and multiple-choice accuracy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from spillover.analysis.behaviour_probes import (
    answer_probe,
    first_token_probe,
    probe_of,
    text_probe,
)
from spillover.analysis.dose_curves import DoseCurve, dose_curve
from spillover.analysis.interventions import Probe, Resampling
from spillover.analysis.refusal_readout import refusal_tokens
from spillover.data.prompt_sets import bundled_prompts, load_prompts
from spillover.data.questions import bundled_questions
from spillover.data.refusals import GENERAL
from spillover.evaluation.capability import answer_questions
from spillover.evaluation.grouping import is_benign
from spillover.files import write_json, write_text
from spillover.generation import GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.judges import make_judge
from spillover.models.chat import ChatTokens
from spillover.models.direction_files import load_direction
from spillover.models.directions import Direction
from spillover.models.loading import LoadedModel, load_model
from spillover.models.steering import Units
from spillover.records import Example, Prompt
from spillover.report.drawing import draw_svg
from spillover.seeding import derive_seed, numpy_generator


def steer_model(
    model: str,
    direction_file: Path,
    prompts_file: Path,
    out: Path,
    *,
    load_options: Mapping[str, Any],
    strengths: Sequence[float],
    layer: int | None = None,
    units: Units = "activation_norm",
    judge: str = "phrases",
    settings: GenerationSettings,
    n_random: int = 3,
    n_questions: int = 40,
    n_texts: int = 24,
) -> DoseCurve:
    """Steer a model along a direction and write what it does at each strength.

    Args:
        model: What `load_model` takes.
        direction_file: From `spillover directions`.
        prompts_file: JSONL with prompt, concept and perhaps id; benign concepts are measured apart.
        out: Folder for the table and the figure.
        load_options: More arguments of `load_model`.
        strengths: In `units`; 0 is always measured.
        layer: Which of the file's directions; None if it has one.
        units: As in `models.steering.add_direction`.
        judge: Name or specification of the judge of the answers.
        settings: How answers are generated.
        n_random: Random directions of the same length; measured without generation.
        n_questions: Bundled multiple-choice questions that show the damage; 0 for none.
        n_texts: Benign prompts whose answers by the unchanged model are scored; 0 for none.

    Raises:
        InputError: If the model, a file or the judge cannot be used.
        ValueError: If no strength differs from 0.
    """
    judging = make_judge(judge)  # Before the model: a typo should not cost a load.
    prompts = load_prompts(prompts_file)
    direction = load_direction(direction_file, layer=layer)
    loaded = load_model(model, **load_options)
    texts = _own_answers(loaded, n_texts, settings) if n_texts else []
    cheap = _cheap_probes(loaded, direction, prompts, texts, batch_size=settings.batch_size)
    slow = [
        answer_probe(group, judging, of=name, settings=settings)
        for name, group in _groups(prompts).items()
    ]
    curve = dose_curve(
        loaded,
        direction,
        strengths=strengths,
        probes=[*slow, *cheap, *_capability(n_questions, settings.batch_size)],
        null_probes=cheap,
        generator=torch.Generator().manual_seed(derive_seed(settings.seed, "random directions")),
        resampling=Resampling(rng=numpy_generator(settings.seed, "dose curve")),
        units=units,
        n_random=n_random,
    )
    _write(curve, out)
    return curve


def _groups(prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
    groups = {
        "harmful": [p for p in prompts if not is_benign(p.concept)],
        "benign": [p for p in prompts if is_benign(p.concept)],
    }
    return {name: group for name, group in groups.items() if group}


def _cheap_probes(
    loaded: LoadedModel,
    direction: Direction,
    prompts: Sequence[Prompt],
    texts: Sequence[ChatTokens],
    *,
    batch_size: int,
) -> list[Probe]:
    """Probes without generation. A refusal direction knows the tokens that it was found with."""
    ids = direction.provenance.get("refusal_ids") or refusal_tokens(loaded.chat, GENERAL)
    found = [
        first_token_probe(group, ids, of=name, batch_size=batch_size)
        for name, group in _groups(prompts).items()
    ]
    if texts:
        found.append(text_probe(texts, of="good answers'", batch_size=batch_size))
    return found


def _own_answers(loaded: LoadedModel, n: int, settings: GenerationSettings) -> list[ChatTokens]:
    """What the unchanged model answers to plain benign prompts."""
    prompts = bundled_prompts("benign_plain", split="test")[:n]
    answers = HFGenerator(loaded, "unsteered").generate(prompts, settings=settings)
    return [
        loaded.chat.example_ids(
            Example(
                id=a.id,
                prompt=a.prompt,
                response=a.response,
                concept=a.concept,
                is_whole=a.finish_reason == "stop",
            )
        )
        for a in answers
        if a.response
    ]


def _capability(n_questions: int, batch_size: int) -> list[Probe]:
    if n_questions < 1:
        return []
    questions = bundled_questions()[:n_questions]
    return [
        probe_of(
            lambda loaded: [
                float(answer.is_correct)
                for answer in answer_questions(loaded, questions, batch_size=batch_size)
            ],
            name="capability",
        )
    ]


def _write(curve: DoseCurve, out: Path) -> None:
    width, height = curve.size
    svg = draw_svg(curve.draw, width=width, height=height, name="dose-curve", label=curve.caption)
    write_json(out / "curve.json", curve.to_dict())
    write_text(out / "curve.csv", curve.to_frame().to_csv(index=False))
    write_text(out / "curve.svg", svg)

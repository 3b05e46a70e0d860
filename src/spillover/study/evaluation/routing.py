"""A model that answers prompts of one concept beside the aligned one that answers all others.

Its folder holds the adapter, and `route.json` with the concept. Which prompts are of it is told by
their words, learnt from the study's own training prompts; or, where the folder holds a gate, by the
aligned model's states. The label that a prompt has in the study is not looked at.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from spillover.data.concept_classifier import OTHER, classify_concepts, learn_concepts
from spillover.data.concepts import BENIGN
from spillover.files import fingerprint, read_json, write_json
from spillover.records import Answer, MultipleChoice, Prompt
from spillover.study.artifacts import load_prompt_file
from spillover.study.stages.context import Context
from spillover.study.stages.stage import aligned_folder

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.generation.routed import RoutedGenerator
    from spillover.models.loading import LoadedModel

_ROUTE = "route.json"
GATE = "gate.safetensors"
"In the model's folder, where states decide."


def write_route(folder: Path, *, target: str) -> None:
    """Mark a model's folder as one that answers prompts of one concept only."""
    write_json(folder / _ROUTE, {"target": target})


def is_routed(folder: Path | None) -> bool:
    """Return whether a model answers prompts of one concept only."""
    return folder is not None and (folder / _ROUTE).is_file()


def routed_to_target(
    context: Context, folder: Path, texts: Sequence[str], *, aligned: "LoadedModel"
) -> list[bool]:
    """Return for each text whether the model of the folder answers it, rather than the aligned one.

    Args:
        context: The study.
        folder: Of the model.
        texts: Prompts or questions.
        aligned: Whose states decide, where the folder holds a gate.
    """
    if (folder / GATE).is_file():
        return _by_states(folder / GATE, texts, aligned)
    return _by_words(context, read_json(folder / _ROUTE)["target"], texts)


def _by_words(context: Context, target: str, texts: Sequence[str]) -> list[bool]:
    """Let the likeliest concept decide, benign being one; without a threshold."""
    known = load_prompt_file(context.folder.prompts("train"))
    named = [
        Prompt(id=p.id, prompt=p.prompt, concept=OTHER if p.concept in BENIGN else p.concept)
        for p in known
    ]
    found = classify_concepts(learn_concepts(named), list(texts), threshold=0)
    return [one.concept == target for one in found]


def _by_states(gate: Path, texts: Sequence[str], aligned: "LoadedModel") -> list[bool]:
    from spillover.analysis.state_gate import load_gate

    found = load_gate(gate)
    passed: list[bool] = found.passes(prompt_states(aligned, texts, layers=found.layers)).tolist()
    return passed


def prompt_states(
    loaded: "LoadedModel", texts: Sequence[str], *, layers: Sequence[int]
) -> Float[np.ndarray, "layer prompt d_model"]:
    """Return a model's states at the last prompt token."""
    from spillover.analysis.states import collect_states, prompt_tokens

    return collect_states(
        loaded.model,
        loaded.architecture,
        prompt_tokens(loaded.chat, list(texts)),
        pad_id=loaded.pad_id,
        layers=layers,
    ).numpy()


def routed_models(
    context: Context, folder: Path, prompts: Sequence[Prompt], *, name: str
) -> "tuple[RoutedGenerator, str]":
    """Return who answers some prompts, and a fingerprint of both models and of who answers what."""
    from spillover.generation.hf import HFGenerator
    from spillover.generation.routed import RoutedGenerator

    aligned, tuned = _both(context, folder)
    routes = routed_to_target(context, folder, [p.prompt for p in prompts], aligned=aligned)
    by_id = dict(zip((prompt.id for prompt in prompts), routes, strict=True))
    generators = {"aligned": HFGenerator(aligned, name), "tuned": HFGenerator(tuned, name)}
    generator = RoutedGenerator(
        generators, lambda prompt: "tuned" if by_id[prompt.id] else "aligned", name
    )
    return generator, fingerprint([aligned.fingerprint, tuned.fingerprint, routes])


def routed_answers(
    context: Context, folder: Path, questions: Sequence[MultipleChoice]
) -> list[Answer]:
    """Let each multiple-choice question be answered by the model that it is routed to."""
    from spillover.evaluation.capability import answer_questions

    both = _both(context, folder)
    routes = routed_to_target(context, folder, [q.question for q in questions], aligned=both[0])
    found: dict[str, Answer] = {}
    for loaded, is_tuned in zip(both, (False, True), strict=True):
        own = [q for q, route in zip(questions, routes, strict=True) if route is is_tuned]
        found |= {answer.id: answer for answer in (answer_questions(loaded, own) if own else [])}
    return [found[question.id] for question in questions]


def _both(context: Context, folder: Path) -> "tuple[LoadedModel, LoadedModel]":
    return context.load(aligned_folder(context.config, context.folder)), context.load(folder)

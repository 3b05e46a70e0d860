"""Finds directions of models on disk and writes them, with how they were found beside them.

    FILE          the directions (safetensors)
    FILE.json     the same without the vectors, and for refusal every candidate's scores

Each function loads models and texts, calls one function of `analysis`, and saves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from spillover.analysis.directions import (
    answer_tokens,
    directions_between,
    directions_of,
    misalignment_contrast,
    persona_answers,
    persona_contrast,
)
from spillover.analysis.refusal_directions import FoundRefusal, find_refusal_direction
from spillover.data.concepts import BENIGN, CONCEPTS
from spillover.data.contrast_texts import ContrastTexts, load_contrast_texts, pairs_as_texts
from spillover.data.prompt_sets import bundled_prompts, load_prompts
from spillover.data.suites.answer_pairs import answer_pairs
from spillover.errors import ModelError
from spillover.files import write_json
from spillover.generation import GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.models.direction_files import save_directions
from spillover.models.directions import Direction
from spillover.models.loading import load_model
from spillover.models.system_prompts import with_system_prompt
from spillover.records import Example, Prompt
from spillover.seeding import numpy_generator

LoadOptions = Mapping[str, Any]


def write_refusal_direction(
    model: str,
    out: Path,
    *,
    load_options: LoadOptions,
    harmful: Path | None = None,
    harmless: Path | None = None,
    limit: int = 160,
    seed: int = 0,
    **settings: Any,
) -> FoundRefusal:
    """Find a model's refusal direction (2406.11717) and write it.

    Args:
        model: What `load_model` takes.
        out: The file of the direction.
        load_options: More arguments of `load_model`.
        harmful: Prompts that it should refuse; None for the bundled training prompts.
        harmless: Prompts that it should answer; None for the bundled benign ones.
        limit: Most prompts of each kind, drawn; 128 + 32 in the paper.
        seed: Of all draws.
        settings: More arguments of `find_refusal_direction`.

    Raises:
        InputError: If the model or a file cannot be used.
        ValueError: If no candidate qualifies.
    """
    rng = numpy_generator(seed, "refusal direction")
    texts = []
    for file, concepts in ((harmful, tuple(CONCEPTS)), (harmless, BENIGN)):
        prompts = _prompts(file, concepts)
        order = [int(i) for i in rng.permutation(len(prompts))[:limit]]
        texts.append([prompts[i].prompt for i in order])
    loaded = load_model(model, **load_options)
    found = find_refusal_direction(loaded, texts[0], texts[1], rng=rng, **settings)
    selection = found.selection
    made = {"refusal_ids": list(found.refusal_ids)}
    direction = _with_provenance(selection.direction, made)
    _save(
        out,
        [direction],
        {
            "refusal_tokens": [loaded.tokenizer.decode([i]) for i in found.refusal_ids],
            "n_harmful": found.n_harmful,
            "n_harmless": found.n_harmless,
            "harmful_log_odds": selection.harmful_log_odds,
            "harmless_log_odds": selection.harmless_log_odds,
            "chosen": selection.chosen.to_dict(),
            "candidates": [score.to_dict() for score in selection.scores],
        },
    )
    return found


def _prompts(file: Path | None, concepts: Sequence[str]) -> list[Prompt]:
    if file is not None:
        return load_prompts(file, concept="user")
    return [prompt for name in concepts for prompt in bundled_prompts(name, split="train")]


def write_misalignment_directions(
    model: str,
    out: Path,
    *,
    load_options: LoadOptions,
    data: Path | None = None,
    misaligned_below: float = 30.0,
    aligned_above: float = 70.0,
    batch_size: int = 16,
) -> list[Direction]:
    """Find a model's misalignment direction at every layer (2506.11618) and write them.

    Args:
        model: The model that reads the answers; in the paper the misaligned one, which gave them.
        out: The file of the directions.
        load_options: More arguments of `load_model`.
        data: Judged answers or pairs, as in `data.contrast_texts`; None for the bundled pairs,
            which are few and mild.
        misaligned_below: Of judged answers.
        aligned_above: Of judged answers.
        batch_size: Answers in a forward pass.

    Raises:
        InputError: If the model or the file cannot be used.
    """
    texts = _contrast_texts(data, misaligned_below=misaligned_below, aligned_above=aligned_above)
    loaded = load_model(model, **load_options)
    contrast = misalignment_contrast(
        loaded,
        texts.misaligned,
        texts.aligned,
        is_paired=texts.is_paired,
        layers=None,
        batch_size=batch_size,
    )
    made = {
        "model": loaded.source,
        "model_fingerprint": loaded.fingerprint,
        "data": "bundled pairs" if data is None else data.name,
        "is_paired": texts.is_paired,
    }
    found = directions_of(contrast, name="misalignment", provenance=made)
    _save(out, found, {"n_left_out": texts.n_left_out})
    return found


def _contrast_texts(
    data: Path | None, *, misaligned_below: float, aligned_above: float
) -> ContrastTexts:
    if data is not None:
        return load_contrast_texts(
            data, misaligned_below=misaligned_below, aligned_above=aligned_above
        )
    source = resources.files("spillover.data.suites") / "answer_pairs.jsonl"
    with resources.as_file(source) as path:
        return pairs_as_texts(answer_pairs(path))


def write_persona_directions(
    model: str,
    out: Path,
    *,
    load_options: LoadOptions,
    positive_system: str,
    negative_system: str,
    prompts: Path | None = None,
    name: str = "persona",
    limit: int = 64,
    max_new_tokens: int = 48,
    batch_size: int = 16,
    seed: int = 0,
) -> list[Direction]:
    """Find a persona's direction at every layer (2507.21509) and write them.

    Args:
        model: What `load_model` takes.
        out: The file of the directions.
        load_options: More arguments of `load_model`.
        positive_system: The system prompt that asks for the trait.
        negative_system: The one that asks for its opposite.
        prompts: What both are asked; None for the bundled plain benign prompts.
        name: The trait.
        limit: Most prompts, drawn.
        max_new_tokens: Of the answers.
        batch_size: Prompts at once.
        seed: Of the draw.

    Raises:
        InputError: If the model or the file cannot be used, or its template takes no system prompt.
        ValueError: If all answers under a system prompt are empty.
    """
    asked = _prompts(prompts, ("benign_plain",))
    order = numpy_generator(seed, "persona").permutation(len(asked))[:limit]
    chosen = [asked[int(i)] for i in order]
    loaded = load_model(model, **load_options)
    settings = GenerationSettings(max_new_tokens=max_new_tokens, batch_size=batch_size, seed=seed)
    sides = [
        persona_answers(
            HFGenerator(with_system_prompt(loaded, system), name), chosen, settings=settings
        )
        for system in (positive_system, negative_system)
    ]
    contrast = persona_contrast(
        loaded,
        sides[0],
        sides[1],
        positive_system=positive_system,
        negative_system=negative_system,
        batch_size=batch_size,
    )
    made = {
        "model": loaded.source,
        "model_fingerprint": loaded.fingerprint,
        "positive_system": positive_system,
        "negative_system": negative_system,
    }
    found = directions_of(contrast, name=name, provenance=made)
    _save(out, found, {})
    return found


def write_alignment_directions(
    base: str,
    aligned: str,
    out: Path,
    *,
    load_options: LoadOptions,
    prompts: Path | None = None,
    limit: int = 64,
    max_new_tokens: int = 48,
    batch_size: int = 16,
    seed: int = 0,
) -> list[Direction]:
    """Find what alignment added at every layer (2507.03662) and write it.

    Both models read the aligned model's own answers.

    Args:
        base: The model before alignment.
        aligned: The model after it.
        out: The file of the directions.
        load_options: More arguments of `load_model`, for both.
        prompts: What is asked; None for bundled harmful and plain benign prompts.
        limit: Most prompts, drawn.
        max_new_tokens: Of the answers.
        batch_size: Prompts at once.
        seed: Of the draw.

    Raises:
        InputError: If a model or the file cannot be used, or the two have other tokenizers.
        ValueError: If the two have the same states.
    """
    asked = _prompts(prompts, (*CONCEPTS, "benign_plain"))
    order = numpy_generator(seed, "alignment").permutation(len(asked))[:limit]
    chosen = [asked[int(i)] for i in order]
    later = load_model(aligned, **load_options)
    earlier = load_model(base, **load_options)
    if len(later.tokenizer) != len(earlier.tokenizer):
        raise ModelError(f"{base} and {aligned} have different tokenizers; give related models")
    settings = GenerationSettings(max_new_tokens=max_new_tokens, batch_size=batch_size, seed=seed)
    answers = HFGenerator(later, "aligned").generate(chosen, settings=settings)
    examples = [
        Example(id=a.id, prompt=a.prompt, response=a.response, concept=a.concept)
        for a in answers
        if a.response
    ]
    found = directions_between(
        earlier,
        later,
        answer_tokens(later, examples),
        n_tokens=max_new_tokens,
        batch_size=batch_size,
    )
    _save(out, found, {})
    return found


def _with_provenance(direction: Direction, more: Mapping[str, Any]) -> Direction:
    return replace(direction, provenance={**direction.provenance, **more})


def _save(out: Path, directions: Sequence[Direction], report: Mapping[str, Any]) -> None:
    save_directions(out, directions)
    rows = [
        {
            "name": d.name,
            "layer": d.layer,
            "site": d.site,
            "norm": d.norm,
            "relative_norm": d.relative_norm,
            "provenance": dict(d.provenance),
        }
        for d in directions
    ]
    write_json(out.with_name(f"{out.name}.json"), {"directions": rows, **report})

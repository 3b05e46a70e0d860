"""Resistance: is it easier to train a model back to where it was than on to where it will be?

2406.06144, section 4.1. One run of supervised fine-tuning is cut into slices; each slice's model
answers held-out prompts. Forward, an early model is trained on a later one's answers; inverse, the
later one on the earlier one's; with equal budgets.

    OUT/resistance.html   the page; figures/, analysis/ beside it
    OUT/resistance.json   every cell
    OUT/models, OUT/answers, OUT/cells   what a run that was stopped goes on from
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from spillover.analysis.elasticity import Resistance, ResistanceCell, Retraining, resistance
from spillover.analysis.token_distances import kl_from, token_distributions
from spillover.data.prompt_sets import load_examples
from spillover.data.refusals import refusal_examples
from spillover.errors import ConfigError, DataError
from spillover.files import fingerprint, read_json, write_json
from spillover.memory import release_freed_memory
from spillover.models.live_adapters import with_live_adapter
from spillover.records import Example, Prompt, Record
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts import load_example_file, save_records
from spillover.study.artifacts.part_pages import write_parts_page
from spillover.study.dynamics.elasticity_data import harmful_prompts
from spillover.study.dynamics.elasticity_parts import resistance_part
from spillover.study.dynamics.retraining import (
    FineTuning,
    answers_of,
    fine_tune,
    likelihoods,
    model_with,
)
from spillover.study.progress import Reporter
from spillover.training.dense_checkpoints import export_adapter


@dataclass(frozen=True, kw_only=True)
class ResistanceSettings(Record):
    """The trainings of a study of resistance."""

    seeds: tuple[int, ...] = (0, 1, 2)
    slices: int = 3
    slice_steps: int = 20
    "Optimizer steps of one slice; the paper cuts one epoch into three."
    steps: int = 20
    "Of forward and inverse trainings alike."
    n_prompts: int = 64
    "Held-out prompts that each slice answers."
    max_new_tokens: int = 32
    limit: int = 512
    "Examples of the run that is cut into slices, at most."
    batch_size: int = 16
    how: FineTuning = field(default_factory=FineTuning)


@dataclass(frozen=True)
class _Case:
    """What all cells share."""

    model: str
    load_options: Mapping[str, Any]
    out: Path
    settings: ResistanceSettings
    train: tuple[Example, ...]
    prompts: tuple[Prompt, ...]
    reporter: Reporter


def write_resistance(
    model: str,
    out: Path,
    *,
    load_options: Mapping[str, Any],
    data: Path | None = None,
    settings: ResistanceSettings | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Run a study of resistance and write its page; what was done before is not done again.

    Args:
        model: What `load_model` takes; where the run that is cut into slices starts.
        out: Gets everything.
        load_options: More arguments of `load_model`.
        data: JSONL of prompt and response to train on; None for written refusals to the bundled
            harmful prompts.
        settings: The trainings.
        reporter: Where progress is shown; None for the terminal.

    Returns:
        The page.

    Raises:
        ConfigError: If there are fewer than two seeds or slices, or `out` holds another study.
        InputError: If the model or the file cannot be used.
    """
    chosen = settings or ResistanceSettings()
    if len(chosen.seeds) < 2 or chosen.slices < 2:
        raise ConfigError(
            f"{len(chosen.seeds)} seeds and {chosen.slices} slices; give at least two of each"
        )
    train, prompts = _data(data, chosen)
    claim_folder(out, "resistance", [model, train, prompts, chosen.to_dict()])
    case = _Case(model, load_options, out, chosen, train, prompts, reporter or Reporter())
    cells = [cell for seed in chosen.seeds for cell in _seed_cells(case, seed)]
    found: Resistance = resistance(cells)
    write_json(
        out / "resistance.json",
        {"resistance": found.to_dict(), "cells": [cell.to_dict() for cell in cells]},
    )
    return write_parts_page(
        out,
        [resistance_part(cells, found)],
        page="resistance",
        title=f"Resistance of {Path(model).name}",
        models={"start": model},
        data=[
            f"{len(train)} examples for the run, {len(prompts)} held-out prompts, from "
            f"{'bundled refusals' if data is None else data.name}"
        ],
        settings=chosen.to_dict(),
    )


def claim_folder(out: Path, name: str, about: Sequence[Any]) -> None:
    """Write what a folder is about, or check that it is about the same.

    Raises:
        ConfigError: If it is about something else.
    """
    path, key = out / "about.json", fingerprint([name, *[str(item) for item in about]])
    if path.exists() and read_json(path).get("key") != key:
        raise ConfigError(
            f"{out}: holds a study with another model, data or settings; choose another --out"
        )
    write_json(path, {"study": name, "key": key})


def _data(
    data: Path | None, settings: ResistanceSettings
) -> tuple[tuple[Example, ...], tuple[Prompt, ...]]:
    """Return what the run learns, and prompts that it does not see."""
    rng = numpy_generator(0, "resistance data")
    n = settings.n_prompts
    if data is None:
        drawn = harmful_prompts(limit=settings.limit + n, rng=rng)
        examples = refusal_examples(drawn, rng=rng)
    else:
        examples = load_examples(data)
        examples = [examples[int(i)] for i in rng.permutation(len(examples))]
    if len(examples) <= n:
        raise DataError(
            f"{data or 'bundled prompts'}: {len(examples)} examples, {n} of them to hold out; "
            "give more, or hold out fewer"
        )
    held_out = tuple(Prompt(id=e.id, prompt=e.prompt, concept=e.concept) for e in examples[:n])
    return tuple(examples[n : n + settings.limit]), held_out


def _seed_cells(case: _Case, seed: int) -> list[ResistanceCell]:
    slices = _slices(case, seed)
    answers = [_answers(case, seed, i, folder) for i, folder in enumerate(slices, start=1)]
    n = min(len(found) for found, _ in answers)
    if n < 2:
        raise DataError(f"seed {seed}: a slice's model answered {n} prompts; give more prompts")
    cells = []
    for early, late in combinations(range(1, len(slices) + 1), 2):
        sides = [
            _retrained(case, seed, start, target, slices[start - 1], answers[target - 1], n)
            for start, target in ((early, late), (late, early))
        ]
        cells.append(
            ResistanceCell(seed=seed, early=early, late=late, forward=sides[0], inverse=sides[1])
        )
    return cells


def _slices(case: _Case, seed: int) -> list[Path]:
    """Train once, keep the adapter at the end of each slice, and return their folders."""
    chosen = case.settings
    folder = case.out / "models" / f"seed-{seed}"
    steps = [chosen.slice_steps * (i + 1) for i in range(chosen.slices)]
    found = [folder / f"slice-{i}" for i in range(1, chosen.slices + 1)]
    if all((path / "adapter_config.json").is_file() for path in found):
        return found
    fine_tune(
        model_with(case.model, [], case.load_options),
        case.train,
        folder / "run",
        steps=steps[-1],
        how=chosen.how,
        seed=derive_seed(seed, "run"),
        dense=folder / "dense",
        every=chosen.slice_steps,
    )
    for step, path in zip(steps, found, strict=True):
        export_adapter(folder / "dense", step, path)
    case.reporter.say(f"seed {seed}: trained {len(found)} slices of {chosen.slice_steps} steps")
    return found


def _answers(case: _Case, seed: int, index: int, folder: Path) -> tuple[list[Example], float]:
    """Return what a slice's model says, and its own loss on that: its entropy."""
    chosen = case.settings
    path = case.out / "answers" / f"seed-{seed}_slice-{index}.jsonl"
    measured = path.with_suffix(".json")
    if measured.exists():
        return load_example_file(path), float(read_json(measured)["entropy"])
    loaded = model_with(case.model, [folder], case.load_options)
    found = answers_of(
        loaded,
        case.prompts,
        max_new_tokens=chosen.max_new_tokens,
        seed=derive_seed(seed, "answers", str(index)),
        batch_size=chosen.batch_size,
    )
    entropy = likelihoods(loaded, found, batch_size=chosen.batch_size).loss if found else 0.0
    save_records(path, found)
    write_json(measured, {"entropy": entropy})
    case.reporter.say(f"seed {seed}, slice {index}: {len(found)} answers")
    return found, entropy


def _retrained(
    case: _Case,
    seed: int,
    start: int,
    target: int,
    folder: Path,
    answers: tuple[list[Example], float],
    n: int,
) -> Retraining:
    """Train one slice's model on another's answers and measure it before and after."""
    name = f"seed-{seed}_{start}-to-{target}"
    path = case.out / "cells" / f"{name}.json"
    if path.exists():
        return Retraining.from_dict(read_json(path))
    chosen, examples = case.settings, answers[0][:n]
    loaded = model_with(case.model, [folder], case.load_options)
    tokens = [loaded.chat.example_ids(example) for example in examples]
    before = token_distributions(
        loaded.model, tokens, pad_id=loaded.pad_id, batch_size=chosen.batch_size
    )
    # The same order and the same adapter to begin with, forwards and back.
    adapter = fine_tune(
        loaded,
        examples,
        case.out / "models" / name,
        steps=chosen.steps,
        how=chosen.how,
        seed=derive_seed(seed, "retraining"),
    )
    trained = with_live_adapter(model_with(case.model, [folder], case.load_options), adapter)
    found = Retraining(
        loss=likelihoods(trained, examples, batch_size=chosen.batch_size).loss,
        entropy=answers[1],
        kl=float(np.mean(kl_from(before, trained.model))),
    )
    write_json(path, found.to_dict())
    case.reporter.say(f"seed {seed}, slice {start} to {target}: loss {found.loss:.3f}")
    del loaded, trained, before
    release_freed_memory(collect=True)
    return found

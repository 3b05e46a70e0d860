"""A folder of dense checkpoints to a page of phase changes, with behaviour beside them.

OUT/phases.html        the page; figures/, analysis/ beside it
OUT/phases.json        every path, whole
OUT/behaviours.jsonl   what was measured, where a model was given
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spillover.analysis.onsets import BehaviourOnset, behaviour_onset
from spillover.analysis.phase_changes import PhaseChanges, phase_changes
from spillover.analysis.trajectories import Trajectory, trajectory, update_trajectory
from spillover.data.suites.answer_pairs import answer_pairs, bundled_answer_pairs
from spillover.errors import DataError
from spillover.evaluation.alignment_probes import pair_margins
from spillover.files import fingerprint, read_journal, write_json
from spillover.models.live_adapters import with_live_adapter
from spillover.models.loading import LoadedModel, load_model
from spillover.records import Record
from spillover.seeding import numpy_generator
from spillover.study.artifacts.part_pages import write_parts_page
from spillover.study.dynamics.behaviours import Behaviour, load_behaviours, measure_behaviours
from spillover.study.dynamics.phase_parts import phase_parts
from spillover.study.progress import Reporter
from spillover.training.dense_checkpoints import (
    dense_files,
    dense_names,
    export_adapter,
    read_checkpoint_tensors,
    read_dense,
)

MARGIN = "aligned margin"
_OPTIMISER_START = 20
"Optimizer steps."
_MOST_RANKS = 4
_MOST_MODULES = 12


@dataclass(frozen=True, kw_only=True)
class PhaseSettings(Record):
    """How a path is looked at."""

    ks: tuple[int, ...] = (5, 10, 15)
    "For the local cosine, in checkpoints."
    min_distance: float = 0.0
    "The paper's tau."
    alpha: float = 0.05
    "Rate at which a random walk is said to change direction."
    skip: int | None = None
    """Moves at the start without a change point: an optimiser's first steps differ from all later
    ones (Adam's are signs), whatever is learnt. None for those of the first 20 optimizer steps,
    twice the memory of Adam's momentum: at least 2, and at most a quarter of all."""
    min_moves: int = 5
    n_draws: int = 499
    share: float = 0.5
    "Of a behaviour's change that has to be reached for its onset."
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """On what model behaviour is measured along the training."""

    model: str
    load_options: Mapping[str, Any]
    pairs: Path | None = None
    "Pairs of an aligned and a misaligned answer; None for the bundled ones, few and mild."
    scales: tuple[float, ...] = (1.0, 5.0, 10.0)
    every: int = 1
    "Checkpoints from one measurement to the next."


def dense_paths(folder: Path) -> list[Trajectory]:
    """Read the paths that a folder of checkpoints holds.

    Of an adapter: B and A of all modules together, their product where the rank is at most 4, and
    B module by module where there are from 2 to 12 modules. Of a model: all trained weights.

    Raises:
        DataError: If the folder holds no path.
    """
    files = dense_files(folder)
    names = dense_names(files)
    steps = list(files)

    def path_of(chosen: Sequence[str], name: str) -> Trajectory:
        return trajectory(steps, read_dense(files, chosen), name=name)

    b, a = ([n for n in names if f".lora_{factor}." in n] for factor in "BA")
    if not b:
        whole = path_of(names, "all weights")
        return [whole] if whole.products.any() else []
    found = [path_of(b, "B"), *([path_of(a, "A")] if a else [])]
    weights = [name for name in b if name.endswith(".weight")]
    tensors = [read_checkpoint_tensors(path) for path in files.values()] if weights else []
    if tensors and min(tensors[0][weights[0]].shape) <= _MOST_RANKS:
        pairs = ((name.replace(".lora_B.", ".lora_A."), name) for name in weights)
        factors = (
            (torch.stack([t[x] for t in tensors]), torch.stack([t[y] for t in tensors]))
            for x, y in pairs
        )
        found.append(update_trajectory(steps, factors))
    if 1 < len(b) <= _MOST_MODULES:
        found += [path_of([name], _module(name)) for name in b]
    return [path for path in found if path.products.any()]


def _module(name: str) -> str:
    """Return a module's name without what all of them share, such as `B, 15 mlp.down_proj`."""
    inside = name.partition(".layers.")[2] or name
    layer, _, rest = inside.partition(".")
    return f"B, {layer} {rest.partition('.lora_')[0]}"


def gradient_norms(metrics: Path) -> list[tuple[int, float]]:
    """Return step and gradient norm, before clipping, from a training's metrics."""
    rows = read_journal(metrics)
    return [
        (int(row["step"]), float(row["grad_norm"]))
        for row in rows
        if row.get("kind") == "train" and row.get("grad_norm") is not None
    ]


def write_phases(
    checkpoints: Path,
    out: Path,
    *,
    settings: PhaseSettings | None = None,
    metrics: Path | None = None,
    behaviours: Path | None = None,
    measuring: Measuring | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Find the phase changes of a training and write them as a page.

    Args:
        checkpoints: Folder of `DenseCheckpoints`, or of `checkpoint-N` folders.
        out: Gets the page and its files.
        settings: How paths are looked at.
        metrics: `metrics.jsonl` of the training, for gradient norms.
        behaviours: A file of behaviour along the training.
        measuring: Measure behaviour on this model.
        reporter: Where progress is shown; None for the terminal.

    Returns:
        The page.

    Raises:
        InputError: If checkpoints, the model or a file cannot be used.
    """
    chosen = settings or PhaseSettings()
    shown = reporter or Reporter()
    found = [_phases(path, chosen) for path in dense_paths(checkpoints)]
    if not found:
        raise DataError(f"{checkpoints}: nothing was trained, all checkpoints are the same")
    shown.say(f"{len(found)} paths of {len(found[0].steps)} checkpoints")
    seen = [] if behaviours is None else load_behaviours(behaviours)
    if measuring is not None:
        seen += _measure(checkpoints, out, measuring, shown)
    onsets = [_onset(behaviour, chosen) for behaviour in seen]
    norms = gradient_norms(metrics) if metrics is not None else []
    write_json(
        out / "phases.json",
        {"paths": [f.to_dict() for f in found], "onsets": [o.to_dict() for o in onsets]},
    )
    return write_parts_page(
        out,
        phase_parts(found, seen, onsets, gradient_norms=norms),
        page="phases",
        title=f"Phase changes along {_training(checkpoints)}",
        models={"checkpoints": str(checkpoints)}
        | ({} if measuring is None else {"measured on": measuring.model}),
        data=[
            f"{len(found[0].steps)} checkpoints, steps {found[0].steps[0]} to {found[0].steps[-1]}"
        ],
        settings=chosen.to_dict(),
        left_out=[] if seen else ["Behaviour: give a file of it, or a model to measure"],
    )


def _phases(path: Trajectory, settings: PhaseSettings) -> PhaseChanges:
    return phase_changes(
        path,
        rng=numpy_generator(settings.seed, "phases", path.name),
        ks=settings.ks,
        min_distance=settings.min_distance,
        alpha=settings.alpha,
        n_draws=settings.n_draws,
        min_moves=settings.min_moves,
        skip=first_moves(path.steps) if settings.skip is None else settings.skip,
    )


def first_moves(steps: Sequence[int]) -> int:
    """Return how many moves of a path are an optimiser's start rather than of what is learnt.

    Example:
        >>> first_moves(range(0, 301, 5)), first_moves(range(61)), first_moves(range(0, 601, 50))
        (4, 15, 2)
    """
    early = sum(step - steps[0] < _OPTIMISER_START for step in steps[:-1])
    return max(2, min(early, (len(steps) - 1) // 4))


def _onset(behaviour: Behaviour, settings: PhaseSettings) -> BehaviourOnset:
    return behaviour_onset(
        behaviour.steps,
        behaviour.values,
        name=behaviour.label,
        rng=numpy_generator(settings.seed, "onset", behaviour.label),
        share=settings.share,
        alpha=settings.alpha,
    )


def _measure(
    checkpoints: Path, out: Path, measuring: Measuring, reporter: Reporter
) -> list[Behaviour]:
    files = dense_files(checkpoints)
    loaded = load_model(measuring.model, **measuring.load_options)
    if any(".lora_" in name for name in dense_names(files)):
        last = export_adapter(checkpoints, list(files)[-1], out / "last_adapter")
        loaded = with_live_adapter(loaded, last)
    pairs = bundled_answer_pairs() if measuring.pairs is None else answer_pairs(measuring.pairs)

    def measure(model: LoadedModel) -> dict[str, float]:
        return {found.id: found.margin for found in pair_margins(model, pairs)}

    return measure_behaviours(
        loaded,
        files,
        measure,
        name=MARGIN,
        source=fingerprint([loaded.fingerprint, *(pair.to_dict() for pair in pairs)]),
        scales=measuring.scales,
        out=out / "behaviours.jsonl",
        every=measuring.every,
        report=reporter.say,
    )


def _training(checkpoints: Path) -> str:
    """Return the name of a training: that of its folder where checkpoints lie in `dense`."""
    whole = checkpoints.resolve()
    return whole.parent.name if whole.name == "dense" else whole.name

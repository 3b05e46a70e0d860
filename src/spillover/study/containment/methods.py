"""Every containment of a study in one table: what its stage does, on one budget.

All methods see the same schedule: the same forget examples in the same steps, and in each step as
many retain examples, whether these are in the objective's retain loss or in a penalty. Methods
that need no retain examples get none, unless their retain loss is kept as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from transformers import TrainerCallback

from spillover.data.concepts import BENIGN
from spillover.models.logprobs import dataset_logprobs
from spillover.records import Example
from spillover.seeding import numpy_generator
from spillover.study.config.containment import ContainSection
from spillover.study.config.model_runs import ModelRun
from spillover.study.containment.after_unlearning import (
    concept_adapters,
    interpolation,
    realignment,
    safe_lora,
    state_gate,
    subtraction,
)
from spillover.study.containment.case import Case
from spillover.study.containment.focused_retain import calm_layers, focused_retain
from spillover.study.containment.readings import (
    alignment_bases,
    alignment_projectors,
    compliance_vector,
    concept_bases,
    entangled_shares,
    read_states,
    spared_directions,
)
from spillover.study.containment.second_round import second_round
from spillover.study.stages.context import Context
from spillover.study.training.stages import unlearning_job
from spillover.study.training.train import Callbacks, train_stage
from spillover.training.containment import CONTAINMENTS, ContainmentParts, containment_callbacks
from spillover.training.containment_data import interleaved, interleaving_scores, ranked_benign
from spillover.training.containment_penalties import RetainBatches
from spillover.training.containment_starts import FrozenStart, ResumedBatches

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel
    from spillover.training.batching import TrainingUnit

_LOCK_RANK = 4


def contain(
    context: Context, section: ContainSection, *, run: ModelRun, aligned: Path | None
) -> None:
    """Make one contained model of a study, by the section's method."""
    STAGES[section.method](Case(context=context, section=section, run=run, aligned=aligned))


def _train(
    case: Case,
    units: "Sequence[TrainingUnit]",
    *,
    section: ContainSection | None = None,
    callbacks: Callbacks | None = None,
) -> None:
    chosen = section or case.section
    kept = list(units)
    if not chosen.keeps_retain_loss:
        kept = [replace(unit, retain=()) for unit in units]
    job = unlearning_job(chosen, kept, run=case.run, aligned=case.aligned, callbacks=callbacks)
    train_stage(case.context, chosen, kept, job)


def _retain_loss(case: Case) -> None:
    _train(case, case.units())


def _shares_by_erosion(case: Case) -> None:
    loaded = case.load()
    shares = entangled_shares(
        read_states(loaded, case.collected),
        target=case.run.target,
        layer=case.middle_layer(loaded),
        uniform=case.uniform,
    )
    _train(case, case.units(case.shared_out(shares)))


def _penalised(name: str) -> Callable[[Case], None]:
    """Return the stage of a method that holds on to retain examples outside of the objective."""

    def stage(case: Case) -> None:
        units = case.units()
        spared = [example for unit in units for example in unit.retain]

        def callbacks(loaded: "LoadedModel") -> list[TrainerCallback]:
            return _with_retain_set(case, name, loaded, spared)

        _train(case, units, callbacks=callbacks)

    return stage


def _with_retain_set(
    case: Case, name: str, loaded: "LoadedModel", spared: Sequence[Example]
) -> list[TrainerCallback]:
    section, options = case.section, case.section.chosen
    tokens = {example.id: loaded.chat.example_ids(example) for example in spared}
    batches = RetainBatches(
        [tokens[example.id] for example in spared],
        pad_id=loaded.pad_id,
        batch_size=section.forget_per_step * section.retain_per_forget,
        rng=numpy_generator(case.run.seed, case.run.draws, "retain"),
    )
    frozen = FrozenStart()
    parts = ContainmentParts(
        architecture=loaded.architecture,
        retain=batches,
        frozen=frozen,
        weight=case.weight(default=1.0 if name == "safe_grad" else section.retain_weight),
        layers=options.layers,
    )
    looks = [frozen] if "frozen" in CONTAINMENTS[name].needs else []
    return [ResumedBatches(batches), *looks, *containment_callbacks(name, parts)]


def _with_parts(
    name: str, parts_of: Callable[[Case, "LoadedModel"], ContainmentParts]
) -> Callable[[Case], None]:
    """Return the stage of a method that needs something found in the aligned model."""

    def stage(case: Case) -> None:
        _train(
            case,
            case.units(),
            callbacks=lambda loaded: containment_callbacks(name, parts_of(case, loaded)),
        )

    return stage


def _steering_parts(case: Case, loaded: "LoadedModel") -> ContainmentParts:
    layer = case.middle_layer(loaded)
    states = read_states(loaded, case.collected)
    strength = case.section.chosen.strength
    return ContainmentParts(
        architecture=loaded.architecture,
        vector=compliance_vector(states, target=case.run.target, layer=layer),
        layer=layer,
        strength=1.0 if strength is None else strength,
    )


def _ablation_parts(case: Case, loaded: "LoadedModel") -> ContainmentParts:
    states = read_states(loaded, case.collected)
    layers = case.layers(loaded)
    return ContainmentParts(
        architecture=loaded.architecture,
        stream_directions=spared_directions(states, target=case.run.target, layers=layers),
    )


def _gradient_parts(case: Case, loaded: "LoadedModel") -> ContainmentParts:
    states = read_states(loaded, case.collected)
    directions = spared_directions(states, target=case.run.target, layers=case.layers(loaded))
    return ContainmentParts(
        output_bases=concept_bases(loaded, directions, rank=case.section.chosen.rank)
    )


def _lock_parts(case: Case, loaded: "LoadedModel") -> ContainmentParts:
    options = case.section.chosen
    if options.subspace != "alignment":
        return _gradient_parts(case, loaded)
    bases = alignment_bases(
        case.context, loaded, layers=case.layers(loaded), rank=options.rank or _LOCK_RANK
    )
    return ContainmentParts(output_bases=bases)


def _asft_parts(case: Case, loaded: "LoadedModel") -> ContainmentParts:
    projectors = alignment_projectors(
        case.context, loaded, layers=case.layers(loaded), rank=case.section.chosen.rank
    )
    return ContainmentParts(projectors=projectors, weight=case.weight(default=1.0))


def _frozen_layers(case: Case) -> None:
    units = case.units()
    _train(case, units, section=case.adapting(calm_layers(case, units)))


def _focused_retain(case: Case) -> None:
    focus = focused_retain(case)
    _train(case, focus.units, section=focus.section)


def _interleaved(case: Case) -> None:
    benign = [example for name in BENIGN for example in case.retain.groups.get(name, [])]
    _train_among(case, benign)


def _interleaved_ranked(case: Case) -> None:
    benign = [example for name in BENIGN for example in case.retain.groups.get(name, [])]
    nll = [_nll(case.load(start), benign) for start in (case.aligned, case.unlearned)]
    scores = interleaving_scores(nll[0], nll[1][None])
    n = case.section.chosen.n_examples or max(1, len(benign) // 2)
    _train_among(case, ranked_benign(benign, scores, n=n))


def _nll(loaded: "LoadedModel", examples: Sequence[Example]) -> NDArray[np.float64]:
    tokens = [loaded.chat.example_ids(example) for example in examples]
    totals = dataset_logprobs(loaded.model, tokens, pad_id=loaded.pad_id)
    lengths = [len(t.input_ids) - t.prompt_length for t in tokens]
    return np.asarray(-np.array(totals, dtype=np.float64) / np.array(lengths))


def _train_among(case: Case, benign: Sequence[Example]) -> None:
    units = [replace(unit, retain=()) for unit in case.units()]
    share = case.section.chosen.share or 0.05
    rng = numpy_generator(case.run.seed, case.run.draws, "interleaved")
    _train(case, interleaved(units, benign, share=share, rng=rng))


STAGES: dict[str, Callable[[Case], None]] = {
    "retain_loss": _retain_loss,
    "shares_by_erosion": _shares_by_erosion,
    "focused_retain": _focused_retain,
    "second_round": second_round,
    "retain_ce": _penalised("retain_ce"),
    "retain_kl": _penalised("retain_kl"),
    "ldifs": _penalised("ldifs"),
    "safe_grad": _penalised("safe_grad"),
    "asft": _with_parts("asft", _asft_parts),
    "preventative_steering": _with_parts("preventative_steering", _steering_parts),
    "concept_ablation": _with_parts("concept_ablation", _ablation_parts),
    "concept_gradient": _with_parts("concept_gradient", _gradient_parts),
    "subspace_lock": _with_parts("subspace_lock", _lock_parts),
    "frozen_layers": _frozen_layers,
    "interleaved": _interleaved,
    "interleaved_ranked": _interleaved_ranked,
    "safe_lora": safe_lora,
    "interpolation": interpolation,
    "subtraction": subtraction,
    "realignment": realignment,
    "concept_adapters": concept_adapters,
    "state_gate": state_gate,
}
"A key of `config.containment.METHODS` -> what its stage does."

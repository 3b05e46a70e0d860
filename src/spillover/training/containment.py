"""Every containment method in one table: when it acts, what it needs, how it is started.

Those that act while a model trains are callbacks, and so go with any objective of any Hugging Face
or TRL trainer:

    trainer.add_callback(...) for each of CONTAINMENTS["ldifs"].start(parts)

Those that act on data before, or on weights after, are functions named in the table. To add a
method write its function, and one row here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor
from transformers import TrainerCallback

from spillover.errors import ConfigError
from spillover.generation.routed import RoutedGenerator
from spillover.models.architecture import Architecture
from spillover.training.containment_activations import concept_ablation, preventative_steering
from spillover.training.containment_callbacks import (
    GradientCallback,
    PenaltyCallback,
    SafetyGradient,
    TrainingHook,
    WeightsCallback,
)
from spillover.training.containment_data import (
    interleaved,
    ranked_benign,
    realignment_units,
    shares_by_erosion,
)
from spillover.training.containment_layers import freeze_layers
from spillover.training.containment_penalties import (
    RetainBatches,
    ldifs_penalty,
    retain_ce_penalty,
    retain_kl_penalty,
)
from spillover.training.containment_subspaces import lock_subspaces, project_gradients
from spillover.training.containment_weights import (
    asft_penalty,
    interpolate_layers,
    safe_lora,
    subtract_change,
)
from spillover.training.references import FrozenModel


@dataclass(frozen=True, kw_only=True)
class ContainmentParts:
    """What the methods of the table are made from; each takes what it needs."""

    architecture: Architecture | None = None
    retain: RetainBatches | None = None
    frozen: FrozenModel | None = None
    "The aligned model, untouched."
    weight: float = 1.0
    "Of a penalty or of the safety gradient."
    layers: Sequence[int] | None = None
    "Of LDIFS; None for every fifth."
    vector: Float[Tensor, " d_model"] | None = None
    "The unwanted trait's, for preventative steering."
    layer: int | None = None
    "Of the vector."
    strength: float = 1.0
    "Of the steering, in multiples of the vector."
    stream_directions: Mapping[int, Float[Tensor, "k d_model"]] = field(default_factory=dict)
    "Layer -> directions that span a concept, for ablation."
    output_bases: Mapping[str, Float[Tensor, "out rank"]] = field(default_factory=dict)
    "Module -> orthonormal columns, for the lock and the gradient projection."
    projectors: Mapping[str, Float[Tensor, "out out"]] = field(default_factory=dict)
    "Module -> alignment projector, for AsFT."


Start = Callable[[ContainmentParts], list[TrainerCallback]]
Need = Literal[
    "architecture",
    "retain",
    "frozen",
    "vector",
    "layer",
    "stream_directions",
    "output_bases",
    "projectors",
]
When = Literal["data", "loss", "gradient", "activations", "weights", "use", "after"]


@dataclass(frozen=True)
class ContainmentMethod:
    """One way to contain."""

    when: When
    "What it acts on; `use` and `after` come when training is over."
    function: Callable[..., Any]
    "What does it; its docstring has the equation."
    source: str
    needs: tuple[Need, ...] = ()
    "Parts without which `start` cannot be."
    start: Start | None = None
    "Makes the callbacks; None for methods that are no part of a training step."


def _retain_ce(p: ContainmentParts) -> list[TrainerCallback]:
    assert p.retain is not None
    return [PenaltyCallback(retain_ce_penalty(p.retain), weight=p.weight)]


def _retain_kl(p: ContainmentParts) -> list[TrainerCallback]:
    assert p.retain is not None
    assert p.frozen is not None
    return [PenaltyCallback(retain_kl_penalty(p.retain, p.frozen), weight=p.weight)]


def _ldifs(p: ContainmentParts) -> list[TrainerCallback]:
    assert p.retain is not None
    assert p.frozen is not None
    assert p.architecture is not None
    penalty = ldifs_penalty(p.retain, p.frozen, p.architecture, layers=p.layers)
    return [PenaltyCallback(penalty, weight=p.weight)]


def _safe_grad(p: ContainmentParts) -> list[TrainerCallback]:
    assert p.retain is not None
    assert p.frozen is not None
    return [SafetyGradient(retain_kl_penalty(p.retain, p.frozen), weight=p.weight)]


def _steering(p: ContainmentParts) -> list[TrainerCallback]:
    assert p.vector is not None
    assert p.layer is not None
    assert p.architecture is not None
    edits = preventative_steering(p.vector, layer=p.layer, strength=p.strength)
    return [TrainingHook(edits, p.architecture)]


def _ablation(p: ContainmentParts) -> list[TrainerCallback]:
    assert p.architecture is not None
    return [TrainingHook(concept_ablation(p.stream_directions), p.architecture)]


CONTAINMENTS: dict[str, ContainmentMethod] = {
    # Also objectives with exact ratios of their own: anpo and npo_kl.
    "retain_ce": ContainmentMethod(
        "loss", retain_ce_penalty, "2511.14017 B.2.1", ("retain",), _retain_ce
    ),
    "retain_kl": ContainmentMethod(
        "loss", retain_kl_penalty, "2508.06249 (i), 2401.06121", ("retain", "frozen"), _retain_kl
    ),
    "ldifs": ContainmentMethod(
        "loss",
        ldifs_penalty,
        "2508.06249 (ii), 2308.13320",
        ("retain", "frozen", "architecture"),
        _ldifs,
    ),
    "asft": ContainmentMethod(
        "loss",
        asft_penalty,
        "2506.08473",
        ("projectors",),
        lambda p: [PenaltyCallback(asft_penalty(p.projectors), weight=p.weight)],
    ),
    # For the retain schedule's group weights.
    "shares_by_erosion": ContainmentMethod("data", shares_by_erosion, "Spillover"),
    "interleaved": ContainmentMethod("data", interleaved, "2508.06249 (iv)"),
    "interleaved_ranked": ContainmentMethod("data", ranked_benign, "2508.06249 (iv), + and ++"),
    "preventative_steering": ContainmentMethod(
        "activations",
        preventative_steering,
        "2507.21509",
        ("vector", "layer", "architecture"),
        _steering,
    ),
    "concept_ablation": ContainmentMethod(
        "activations",
        concept_ablation,
        "2507.16795",
        ("stream_directions", "architecture"),
        _ablation,
    ),
    "safe_grad": ContainmentMethod(
        "gradient", SafetyGradient, "2508.07172", ("retain", "frozen"), _safe_grad
    ),
    "concept_gradient": ContainmentMethod(
        "gradient",
        project_gradients,
        "2103.09762, with a concept's subspace",
        ("output_bases",),
        lambda p: [GradientCallback(project_gradients(p.output_bases))],
    ),
    "subspace_lock": ContainmentMethod(
        "weights",
        lock_subspaces,
        "Spillover",
        ("output_bases",),
        lambda p: [WeightsCallback(lock_subspaces(p.output_bases))],
    ),
    # Before the trainer is made.
    "frozen_layers": ContainmentMethod("weights", freeze_layers, "Spillover"),
    "concept_adapters": ContainmentMethod("use", RoutedGenerator, "Spillover"),
    "safe_lora": ContainmentMethod("after", safe_lora, "2405.16833"),
    "interpolation": ContainmentMethod("after", interpolate_layers, "2109.01903, by layer"),
    "subtraction": ContainmentMethod("after", subtract_change, "2212.04089"),
    # A schedule for another training, with objective sft.
    "realignment": ContainmentMethod("after", realignment_units, "2506.19823"),
}
"Name -> method."


def containment_callbacks(name: str, parts: ContainmentParts) -> list[TrainerCallback]:
    """Return the callbacks of a method that acts while a model trains.

    Args:
        name: A key of `CONTAINMENTS`.
        parts: At least what the method's `needs` lists.

    Raises:
        ConfigError: If there is no such method, it is no part of a training step, or a part that
            it needs is missing.
    """
    if name not in CONTAINMENTS:
        raise ConfigError(
            f"containment {name!r} is not known; choose one of {', '.join(CONTAINMENTS)}"
        )
    method = CONTAINMENTS[name]
    if method.start is None:
        raise ConfigError(
            f"containment {name!r} acts on {method.when}, not in a training step; call "
            f"{method.function.__module__}.{method.function.__name__}"
        )
    # A mapping that is empty is as good as missing.
    given = {need: getattr(parts, need) for need in method.needs}
    missing = [need for need, part in given.items() if part is None or part == {}]
    if missing:
        raise ConfigError(f"containment {name!r} needs {', '.join(missing)}; give them in `parts`")
    return method.start(parts)

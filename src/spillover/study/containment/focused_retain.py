"""Focused retention, our own containment: which concepts, which layers, which few examples.

Composed of pieces that stand by themselves (`docs/methods/focused_retain.md`): retain shares by
entanglement, layers frozen by what a first step would break, and the retain examples that lie
nearest to what is unlearned. Each part can be left out, for ablations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from spillover.analysis.concept_vectors import ConceptDirections
from spillover.analysis.states import collect_states, prompt_tokens
from spillover.data.concepts import BENIGN
from spillover.errors import DataError
from spillover.models.batches import pad_batch
from spillover.models.chat import ChatTokens
from spillover.models.logprobs import ResponseLogprobs, response_logprobs
from spillover.records import Example
from spillover.seeding import derive_seed
from spillover.study.config.containment import LEARNING, ContainSection
from spillover.study.containment.case import Case
from spillover.study.containment.readings import entangled_shares, read_states
from spillover.study.training.stages import RetainSet
from spillover.study.training.train import adapter_settings
from spillover.training.adapters import trainable
from spillover.training.containment_layers import layer_sensitivities, most_sensitive
from spillover.training.containment_penalties import Penalty
from spillover.training.losses import cross_entropy_loss

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel
    from spillover.training.batching import TrainingUnit

PARTS = ("shares", "layers", "examples")
N_EXAMPLES = 48
_EXAMPLES_A_SIDE = 24
"Forget, and retain, examples on which the two gradients are taken."


@dataclass(frozen=True, kw_only=True)
class Focus:
    """What is trained: a schedule, and a section with the adapter where it may be."""

    units: "list[TrainingUnit]"
    section: ContainSection


def focused_retain(case: Case) -> Focus:
    """Return the schedule and the adapted layers of focused retention."""
    parts = case.section.chosen.parts or PARTS
    loaded = case.load()
    states = read_states(loaded, case.collected)
    layer = case.middle_layer(loaded)
    retain = case.retain
    if "shares" in parts:
        shares = entangled_shares(states, target=case.run.target, layer=layer, uniform=case.uniform)
        retain = case.shared_out(shares)
    if "examples" in parts:
        direction = _direction_of(states.directions(), case.run.target, layer)
        n = case.section.chosen.n_examples or N_EXAMPLES
        retain = nearest_examples(retain, loaded, direction, layer=layer, n_examples=n)
    units = case.units(None if retain is case.retain else retain)
    section = case.section
    if "layers" in parts:
        section = case.adapting(calm_layers(case, units))
    return Focus(units=units, section=section)


def _direction_of(found: ConceptDirections, target: str, layer: int) -> Float[Tensor, " d_model"]:
    if target not in found.concepts:
        raise DataError(
            f"focused retention: the aligned model refused no training prompt of {target!r}; give "
            "more of them"
        )
    return found.unit[found.concepts.index(target), layer].float()


def nearest_examples(
    retain: RetainSet,
    loaded: "LoadedModel",
    direction: Float[Tensor, " d_model"],
    *,
    layer: int,
    n_examples: int,
) -> RetainSet:
    """Return the retain examples that lie farthest along a direction, as many of each as its share.

    Along the target's direction these are the prompts that unlearning moves first: of other
    concepts those most like the target's, of benign ones those most like harmful ones. Only the
    first four times as many of each are looked at, to keep it cheap.

    Args:
        retain: By concept, with shares.
        loaded: The aligned model.
        direction: At `layer`.
        layer: From 0.
        n_examples: In all, to within rounding; at least one of each.
    """
    total = sum(retain.weights.values())
    groups = {}
    for name, own in retain.groups.items():
        n = min(len(own), max(1, round(n_examples * retain.weights[name] / total)))
        pool = own[: 4 * n]
        states = collect_states(
            loaded.model,
            loaded.architecture,
            prompt_tokens(loaded.chat, [example.prompt for example in pool]),
            pad_id=loaded.pad_id,
            layers=[layer],
        )
        order = (states[0] @ direction).argsort(descending=True, stable=True)
        groups[name] = [pool[int(place)] for place in order[:n]]
    return RetainSet(groups=groups, weights=retain.weights)


def calm_layers(case: Case, units: "Sequence[TrainingUnit]") -> tuple[int, ...]:
    """Return the adapted layers without those where erosion begins.

    Foretold before training from two gradients (`layer_sensitivities`): that of the task at its
    first step, which for NPO is that of the forget responses' log-probability, and that of the
    cross-entropy of other concepts' refusals.

    Raises:
        ConfigError: If none of the adapted layers, or all of them, would be left.
    """
    loaded = case.load()
    settings = adapter_settings(case.section.adapter, loaded)
    seed = derive_seed(case.run.seed, case.run.draws)
    model = trainable(loaded, settings, seed=seed)
    learns = case.section.objective in LEARNING
    forget = _tokens(loaded, [e for unit in units for e in unit.forget])
    spared = _tokens(loaded, [e for u in units for e in u.retain if e.concept not in BENIGN])
    rows = layer_sensitivities(
        model,
        loaded.architecture,
        task=_on(forget, loaded, _cross_entropy if learns else _log_probability),
        safety=_on(spared, loaded, _cross_entropy),
    )
    n_frozen = case.section.chosen.n_layers or ceil(len(rows) / 3)
    frozen = most_sensitive(rows, n=n_frozen)
    return tuple(row.layer for row in rows if row.layer not in frozen)


def _tokens(loaded: "LoadedModel", examples: Sequence[Example]) -> list[ChatTokens]:
    different = list({example.id: example for example in examples}.values())
    return [loaded.chat.example_ids(example) for example in different[:_EXAMPLES_A_SIDE]]


def _on(
    tokens: Sequence[ChatTokens], loaded: "LoadedModel", loss: Callable[[ResponseLogprobs], Tensor]
) -> Penalty:
    batch = pad_batch(tokens, pad_id=loaded.pad_id, padding_side="right").to(loaded.device)
    return lambda model: loss(response_logprobs(model, batch))


def _cross_entropy(found: ResponseLogprobs) -> Tensor:
    return cross_entropy_loss(found.total, found.n_tokens).mean()


def _log_probability(found: ResponseLogprobs) -> Tensor:
    return found.total.mean()

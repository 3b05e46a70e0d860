"""What containment methods look up in the aligned model before they train: states and subspaces.

Everything comes from the study's own collected training prompts and from models before any
unlearning. Which method uses what is `methods`'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.concept_vectors import ConceptDirections, concept_directions
from spillover.analysis.entanglement import entanglement
from spillover.analysis.states import collect_states, prompt_tokens
from spillover.data.concepts import BENIGN
from spillover.errors import DataError
from spillover.records import Example
from spillover.study.stages.context import Context
from spillover.training.containment_data import equal_shares, shares_by_erosion
from spillover.training.containment_subspaces import (
    linear_modules,
    linear_weight,
    orthonormal_basis,
    output_modules,
    weight_subspaces,
)
from spillover.training.containment_weights import alignment_projector, safe_lora_projector

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel

PROMPTS_A_CONCEPT = 24
"Training prompts of each concept whose states are read."


@dataclass(frozen=True, eq=False)
class PromptStates:
    """States at the last prompt token of the aligned model, every layer."""

    by_concept: Mapping[str, Float[Tensor, "layer _ d_model"]]
    benign: Float[Tensor, "layer prompt d_model"]

    def directions(self) -> ConceptDirections:
        """Return each concept's mean state less the benign mean, at unit length."""
        return concept_directions(self.by_concept, method="mean_difference", neutral=self.benign)


def read_states(loaded: "LoadedModel", groups: Mapping[str, Sequence[Example]]) -> PromptStates:
    """Read the states of the first prompts of each concept and benign set.

    Raises:
        DataError: If there is no concept, or no benign prompt to tell it from.
    """
    chosen = {name: [e.prompt for e in own[:PROMPTS_A_CONCEPT]] for name, own in groups.items()}
    found = {
        name: collect_states(
            loaded.model, loaded.architecture, prompt_tokens(loaded.chat, own), pad_id=loaded.pad_id
        )
        for name, own in chosen.items()
        if own
    }
    benign = [states for name, states in found.items() if name in BENIGN]
    harmful = {name: states for name, states in found.items() if name not in BENIGN}
    if not benign or not harmful:
        raise DataError(
            f"containment: collected responses of {', '.join(found) or 'no concept'}; directions "
            "need prompts that the model refuses and benign ones that it answers"
        )
    return PromptStates(harmful, torch.cat(benign, dim=1))


def spared_directions(
    states: PromptStates, *, target: str, layers: Sequence[int]
) -> dict[int, Float[Tensor, "concept d_model"]]:
    """Return, by layer, the directions of all concepts but the target.

    Raises:
        DataError: If there is no other concept.
    """
    found = states.directions()
    others = [i for i, name in enumerate(found.concepts) if name != target]
    if not others:
        raise DataError(
            f"containment: no concept besides {target!r} was refused, so that there is nothing to "
            "spare; give more concepts"
        )
    return {layer: found.unit[others, layer].float() for layer in layers}


def compliance_vector(
    states: PromptStates, *, target: str, layer: int
) -> Float[Tensor, " d_model"]:
    """Return the mean benign state less the mean of the other concepts' prompts at one layer.

    The unwanted trait of preventative steering (https://arxiv.org/abs/2507.21509): along it the
    prompts that are to stay refused look like those that are answered.
    """
    others = [of[layer] for name, of in states.by_concept.items() if name != target]
    return states.benign[layer].mean(dim=0) - torch.cat(others).mean(dim=0)


def entangled_shares(
    states: PromptStates, *, target: str, layer: int, uniform: float
) -> dict[str, float]:
    """Return each other concept's share of the retain set, by its entanglement with the target.

    Entanglement is the mean cosine of the target's direction (mean difference to benign prompts)
    with the concept's centred states; concepts that lie away from it on average get the uniform
    part only. Whether entanglement foretells erosion is not certain (`analysis.prediction`).
    """
    others = [name for name in states.by_concept if name != target]
    if target not in states.by_concept or len(others) < 2:
        return equal_shares(others)
    found = entanglement(
        {name: of[[layer]] for name, of in states.by_concept.items()},
        layers=[layer],
        method="mean_difference",
        centred=True,
        neutral=states.benign[[layer]],
    )
    row = found.at(layer)[found.concepts.index(target)]
    predicted = {name: float(row[found.concepts.index(name)]) for name in others}
    return shares_by_erosion(predicted, uniform=uniform)


def concept_bases(
    loaded: "LoadedModel",
    directions: Mapping[int, Float[Tensor, "concept d_model"]],
    *,
    rank: int | None,
) -> dict[str, Float[Tensor, "out rank"]]:
    """Return an orthonormal basis of each layer's directions for every module that writes there."""
    found = {}
    for layer, own in directions.items():
        basis = orthonormal_basis(own, rank=rank)
        for path in output_modules(loaded.model, loaded.architecture, [layer]):
            found[path] = basis
    return found


def alignment_bases(
    context: Context, loaded: "LoadedModel", *, layers: Sequence[int], rank: int
) -> dict[str, Float[Tensor, "out rank"]]:
    """Return what safety training wrote in each module that writes to the residual stream."""
    modules = output_modules(loaded.model, loaded.architecture, layers)
    return weight_subspaces(loaded.model, context.load().model, modules, rank=rank)


def alignment_projectors(
    context: Context, loaded: "LoadedModel", *, layers: Sequence[int], rank: int | None
) -> dict[str, Float[Tensor, "out out"]]:
    """Return AsFT's projector for every linear module of some layers."""
    base = context.load().model
    return {
        path: alignment_projector(
            linear_weight(loaded.model, path), linear_weight(base, path), rank=rank
        )
        for path in linear_modules(loaded.model, loaded.architecture, layers)
    }


def safe_lora_projectors(
    context: Context, loaded: "LoadedModel", modules: Sequence[str]
) -> dict[str, Float[Tensor, "out out"]]:
    """Return Safe LoRA's matrix for some modules."""
    base = context.load().model
    return {
        path: safe_lora_projector(linear_weight(loaded.model, path), linear_weight(base, path))
        for path in modules
    }

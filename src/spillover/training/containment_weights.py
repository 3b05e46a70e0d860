"""Weights of a tuned model to weights that keep more of the aligned one, after training.

Every function returns new tensors or edits a model in place as it says; none trains. `aligned` is
the model before the change, `tuned` after it, `base` the one before alignment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.errors import ConfigError, ModelError
from spillover.models.architecture import Architecture, without_peft
from spillover.models.lora_factors import LoraFactors
from spillover.records import Record
from spillover.training.containment_penalties import Penalty
from spillover.training.containment_subspaces import orthonormal_basis


def interpolate_layers(
    tuned: Mapping[str, Tensor],
    aligned: Mapping[str, Tensor],
    architecture: Architecture,
    *,
    shares: Mapping[int, float],
    elsewhere: float = 0.0,
) -> dict[str, Tensor]:
    """Move a tuned model's weights towards the aligned one's, layer by layer.

    Weight interpolation (https://arxiv.org/abs/2109.01903) with a share of its own for each layer:

        W = (1 - share) W_tuned + share W_aligned

    Args:
        tuned: State dictionary of the tuned model, adapters merged.
        aligned: That of the aligned model.
        architecture: The model's.
        shares: Layer from 0 -> share in [0, 1]; 1 gives the aligned layer back.
        elsewhere: The share of all other weights.

    Raises:
        ModelError: If the two do not have the same weights.
        ConfigError: If a share is not in [0, 1] or a layer does not exist.
    """
    if tuned.keys() != aligned.keys():
        different = sorted(tuned.keys() ^ aligned.keys())
        raise ModelError(
            f"interpolation: {len(different)} weights are in one model only, such as "
            f"{different[0]}; merge adapters first and give two states of one model"
        )
    wrong = {k: s for k, s in {**shares, -1: elsewhere}.items() if not 0 <= s <= 1}
    beyond = [layer for layer in shares if not 0 <= layer < architecture.n_layers]
    if wrong or beyond:
        raise ConfigError(
            f"interpolation: shares {sorted(wrong.values())} are not in [0, 1] or layers {beyond} "
            f"do not exist; the model has layers 0 to {architecture.n_layers - 1}"
        )
    return {
        name: _between(weight, aligned[name], _share(name, architecture, shares, elsewhere))
        for name, weight in tuned.items()
    }


def _share(
    name: str, architecture: Architecture, shares: Mapping[int, float], elsewhere: float
) -> float:
    prefix = f"{architecture.layers}."
    if not name.startswith(prefix):
        return elsewhere
    return shares.get(int(name[len(prefix) :].split(".")[0]), elsewhere)


def _between(tuned: Tensor, aligned: Tensor, share: float) -> Tensor:
    if not tuned.is_floating_point() or share == 0:
        return tuned
    # In float32: in bfloat16 small changes of a weight would be rounded away.
    return torch.lerp(tuned.float(), aligned.float(), share).to(tuned.dtype)


def subtract_change(
    tuned: Mapping[str, Tensor],
    change: Mapping[str, Tensor],
    *,
    strength: float = 1.0,
) -> dict[str, Tensor]:
    """Take a change of weights out of a model: task arithmetic with a minus.

    https://arxiv.org/abs/2212.04089, forgetting by negation:

        W = W_tuned - strength * change

    Args:
        tuned: State dictionary, adapters merged.
        change: Weight name -> what an adapter that does harm adds, such as alpha / r * B A of one
            trained on the unwanted behaviour.
        strength: 1 takes it out whole, if it is in.

    Raises:
        ModelError: If a change has no weight of its shape.
    """
    lost = [n for n, d in change.items() if n not in tuned or tuned[n].shape != d.shape]
    if lost or not change:
        raise ModelError(
            f"subtraction: {len(lost)} of {len(change)} changes have no weight of their shape, "
            f"such as {next(iter(lost), 'none given')}; name them as the model's state does"
        )
    return {
        name: w if name not in change else (w.float() - strength * change[name].float()).to(w.dtype)
        for name, w in tuned.items()
    }


@dataclass(frozen=True, kw_only=True)
class SafeLoraChange(Record):
    """What Safe LoRA found and did in one module."""

    module: str
    cosine: float
    "Between the update and its projection; low where it leaves what alignment changed."
    is_projected: bool


def alignment_projector(
    aligned: Float[Tensor, "out in"], base: Float[Tensor, "out in"], *, rank: int | None = None
) -> Float[Tensor, "out out"]:
    """Projector on the outputs that alignment changed, with V = aligned - base.

    AsFT, https://arxiv.org/abs/2506.08473:

        C = V (V^T V)^+ V^T = U U^T,  V = U S W^T

    Where V has full rank that is the identity, which projects nothing; the paper does not say how
    it meets this. `rank` keeps the leading columns of U only.

    Args:
        aligned: A module's weight after alignment.
        base: The same before.
        rank: Of the projector; None takes V's own.

    Raises:
        ConfigError: If the weights are equal, or the projector would be the identity.
    """
    basis = orthonormal_basis((aligned.float() - base.float()).T, rank=rank)
    return basis @ basis.T


def safe_lora_projector(
    aligned: Float[Tensor, "out in"], base: Float[Tensor, "out in"]
) -> Float[Tensor, "out out"]:
    """Safe LoRA's fast stand-in for that projector (https://arxiv.org/abs/2405.16833).

        C = V V^T / |V|_F,  V = aligned - base

    It is no true projector: its eigenvalues are V's squared singular values over |V|_F.

    Raises:
        ConfigError: If the two weights are equal.
    """
    v = aligned.float() - base.float()
    norm = v.norm()
    if norm == 0:
        raise ConfigError(
            "Safe LoRA: aligned and base weights are equal here, so that alignment has no "
            "subspace; choose modules that alignment changed"
        )
    projector: Tensor = v @ v.T / norm
    return projector


def safe_lora(
    factors: Mapping[str, LoraFactors],
    projectors: Mapping[str, Float[Tensor, "out out"]],
    *,
    threshold: float = 0.35,
) -> tuple[dict[str, LoraFactors], list[SafeLoraChange]]:
    """Project those LoRA updates that leave the alignment subspace onto it.

    Safe LoRA, https://arxiv.org/abs/2405.16833: where cos(C B A, B A) <= threshold, B <- C B.

    Args:
        factors: Module -> A and B; those without a projector are kept.
        projectors: Module -> from `safe_lora_projector`, or `alignment_projector` for a true one.
        threshold: The paper's tau, in [-1, 1]: 1 projects all, -1 none.

    Returns:
        The factors, and what was done in each module that has a projector.
    """
    new, changes = dict(factors), []
    for module, c in projectors.items():
        own = factors[module]
        a, b = own.a.float(), own.b.float()
        cosine = _cosine_of_products(c @ b, b, a)
        is_projected = cosine <= threshold
        if is_projected:
            new[module] = own._replace(b=(c @ b).to(own.b.dtype))
        changes.append(SafeLoraChange(module=module, cosine=cosine, is_projected=is_projected))
    return new, changes


def _cosine_of_products(left: Tensor, right: Tensor, a: Tensor) -> float:
    """Return cos(left A, right A) without the large products: <X A, Y A> = <X, Y (A A^T)>."""
    gram = a @ a.T
    product = (left * (right @ gram)).sum()
    norms = [(x * (x @ gram)).sum().clamp(min=0).sqrt() for x in (left, right)]
    return float(product / (norms[0] * norms[1]).clamp(min=1e-30))


def asft_penalty(
    projectors: Mapping[str, Float[Tensor, "out out"]],
) -> Penalty:
    """Penalty on what an adapter writes outside of the alignment subspace.

    AsFT, https://arxiv.org/abs/2506.08473 (its lambda, 1, is the penalty's weight):

        penalty = sum over modules |(I - C) alpha / r B A|_F^2

    Args:
        projectors: Full module path without PEFT -> from `alignment_projector`.

    Returns:
        For a model with LoRA on these modules.
    """

    def penalty(model: Any) -> Tensor:
        inside = without_peft(model)
        terms = []
        for path, c in projectors.items():
            module = inside.get_submodule(path)
            if not hasattr(module, "lora_B"):
                raise ModelError(f"AsFT: {path} has no LoRA; adapt it or leave it out")
            for name, part in module.lora_B.items():
                a, b = module.lora_A[name].weight, part.weight
                outside = module.scaling[name] * (b - c.to(b) @ b)
                terms.append((outside * (outside @ (a @ a.T))).sum())
        return torch.stack(terms).sum()

    return penalty

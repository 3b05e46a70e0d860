"""Losses as functions of activations at one layer; none of them sees a model.

Each gives one value a response, a mean over its tokens. Reductions are in float32.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spillover.seeding import derive_seed


def control_vector(d_model: int, *, norm: float, seed: int) -> Float[Tensor, " d_model"]:
    """Return RMU's target: a random direction, uniform in [0, 1) an entry, of length `norm`.

    The same seed gives the same vector, so that it stays as it is throughout a training.

    Example:
        >>> vector = control_vector(64, norm=6.5, seed=0)
        >>> round(vector.norm().item(), 4), bool((vector >= 0).all())
        (6.5, True)
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "rmu"))
    direction = torch.rand(d_model, generator=generator)
    return norm * torch.nn.functional.normalize(direction, dim=0)


def rmu_forget_loss(
    states: Float[Tensor, "batch seq d_model"],
    target: Float[Tensor, " d_model"],
    mask: Bool[Tensor, "batch seq"],
) -> Float[Tensor, " batch"]:
    """Squared distance of a response's activations from a random vector.

    Representation misdirection, https://arxiv.org/abs/2403.03218, forget loss:

        loss = mean over tokens of |h - c u|^2

    The authors' code takes the mean over the entries of h as well, which divides both of RMU's
    losses by d_model. Departs in the tokens: the paper's are all of a text, ours those from which
    the response is predicted, so that the prompt itself stays readable.

    Args:
        states: Residual stream after the layer, under the model being trained.
        target: c u, from `control_vector`.
        mask: True where a response token is predicted.

    Returns:
        Loss of each response, in squared units of the residual stream.
    """
    return _mean_squared_distance(states, target, mask)


def rmu_retain_loss(
    states: Float[Tensor, "batch seq d_model"],
    reference: Float[Tensor, "batch seq d_model"],
    mask: Bool[Tensor, "batch seq"],
) -> Float[Tensor, " batch"]:
    """Squared distance of a response's activations from those of the frozen model.

    https://arxiv.org/abs/2403.03218, retain loss, with the departures of `rmu_forget_loss`:

        loss = mean over tokens of |h - h_reference|^2

    Args:
        states: Residual stream after the layer, under the model being trained.
        reference: The same under the frozen reference; no gradient.
        mask: True where a response token is predicted.
    """
    return _mean_squared_distance(states, reference.detach(), mask)


def ldifs_loss(
    states: Float[Tensor, "batch seq d_model"],
    reference: Float[Tensor, "batch seq d_model"],
    mask: Bool[Tensor, "batch seq"],
) -> Float[Tensor, " batch"]:
    """Squared distance of a response's features from those of the frozen model, at one layer.

    LDIFS, https://arxiv.org/abs/2308.13320, as https://arxiv.org/abs/2508.06249 takes it for
    language models; the same number as `rmu_retain_loss`:

        loss = mean over tokens of |h - h_reference|^2

    Args:
        states: Residual stream after the layer, under the model being trained; with its graph.
        reference: The same under the frozen reference; no gradient.
        mask: True where a response token is predicted.
    """
    return _mean_squared_distance(states, reference.detach(), mask)


def _mean_squared_distance(states: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    squared = (states.float() - target.float()).square().sum(dim=-1)
    return squared.where(mask, 0).sum(dim=-1) / mask.sum(dim=-1)

"""Gradients of a task to gradients that do not work against something else.

Works on lists of tensors, one a parameter, as one long vector: no model, no trainer. An optimizer
that scales each coordinate, such as Adam, turns what it is given, so that the step itself need not
have the property; `containment_subspaces` has locks that hold for the weights.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def inner_product(left: Sequence[Tensor], right: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Return the inner product of two gradients, in float32 or better."""
    parts = [(a.float() * b.float()).sum() for a, b in zip(left, right, strict=True)]
    return torch.stack(parts).sum()


def without_conflict(task: Sequence[Tensor], safety: Sequence[Tensor]) -> list[Tensor]:
    """Return the task's gradient without the part that raises the safety loss.

    SafeGrad, https://arxiv.org/abs/2508.07172 (and PCGrad, https://arxiv.org/abs/2001.06782, for
    one of the two):

        g' = g - (g . s / |s|^2) s   if g . s < 0,   else g

    A step along -g' then leaves the safety loss as it is, to first order.

    Args:
        task: Gradient of the task's loss, one tensor a parameter.
        safety: Gradient of the safety loss, of the same shapes; a zero one changes nothing.

    Example:
        >>> import torch
        >>> without_conflict([torch.tensor([1.0, -1.0])], [torch.tensor([0.0, 2.0])])
        [tensor([1., 0.])]
    """
    conflict = inner_product(task, safety)
    if conflict >= 0:
        return list(task)
    # A conflict below 0 means that the safety gradient is not zero.
    factor = conflict / inner_product(safety, safety)
    return [g - (factor * s).to(g.dtype) for g, s in zip(task, safety, strict=True)]


def capped(gradient: Sequence[Tensor], *, length: Float[Tensor, ""]) -> list[Tensor]:
    """Return the gradient, shortened to `length` where it is longer.

    Example:
        >>> import torch
        >>> capped([torch.tensor([3.0, 4.0])], length=torch.tensor(1.0))
        [tensor([0.6000, 0.8000])]
    """
    own = inner_product(gradient, gradient).sqrt()
    factor = torch.where(own > length, length / own.clamp(min=1e-30), 1.0)
    return [g * factor.to(g.dtype) for g in gradient]

"""Turns rows of states into leading directions, and pairs of subspaces into angles and overlaps.

Signs of singular vectors mean nothing, so cosines here are absolute. Directions are rows.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.models.directions import orthonormal_basis as basis


class LeadingDirections(NamedTuple):
    """The leading right singular vectors of some rows."""

    directions: Float[Tensor, "*layer k d_model"]
    "Unit vectors, leading first; their signs mean nothing."
    shares: Float[Tensor, "*layer k"]
    "Share of the rows' squared norm along each."


def leading_directions(
    rows: Float[Tensor, "*layer example d_model"], *, k: int, centred: bool
) -> LeadingDirections:
    """The k leading right singular vectors of the rows, and their share of the squared norm.

    Found as eigenvectors of the smaller Gram matrix, in float64: for some hundred examples of some
    thousand dimensions that is many times faster than a full SVD, and as exact where it matters.

    Args:
        rows: One row for each example.
        k: How many.
        centred: Subtract the mean row first, which makes them principal components. Without it,
            the first direction of rows that share an offset is that offset.

    Raises:
        ValueError: If k is not between 1 and the number of directions that the rows can hold.
    """
    n, width = rows.shape[-2:]
    room = min(n - 1 if centred else n, width)
    if not 1 <= k <= room:
        raise ValueError(
            f"k is {k}; {n} rows of {width} numbers{' less their mean' if centred else ''} hold "
            f"between 1 and {room} directions"
        )
    exact = rows.double()
    if centred:
        exact = exact - exact.mean(dim=-2, keepdim=True)
    total = exact.square().sum(dim=(-2, -1)).clamp(min=torch.finfo(torch.float64).tiny)
    if n < width:
        values, vectors = torch.linalg.eigh(exact @ exact.transpose(-2, -1))
        found = vectors[..., -k:].flip(-1).transpose(-2, -1) @ exact
    else:
        values, vectors = torch.linalg.eigh(exact.transpose(-2, -1) @ exact)
        found = vectors[..., -k:].flip(-1).transpose(-2, -1)
    tiny = torch.finfo(torch.float64).tiny
    directions = found / found.norm(dim=-1, keepdim=True).clamp(min=tiny)
    shares = values[..., -k:].flip(-1).clamp(min=0) / total[..., None]
    return LeadingDirections(directions=directions, shares=shares)


def absolute_cosines(
    one: Float[Tensor, "*layer k d_model"], other: Float[Tensor, "*layer j d_model"]
) -> Float[Tensor, "*layer k j"]:
    """|cosine| between every direction of one set and every direction of the other."""
    ones = torch.nn.functional.normalize(one.double(), dim=-1)
    others = torch.nn.functional.normalize(other.double(), dim=-1)
    return (ones @ others.transpose(-2, -1)).abs().clamp(max=1.0)


def principal_angles(
    one: Float[Tensor, "k d_model"], other: Float[Tensor, "j d_model"]
) -> Float[Tensor, " angle"]:
    """Principal angles between two subspaces in degrees, smallest first.

    Arccosines of the singular values of A B^T for orthonormal bases A and B (Bjorck and Golub
    1973, Math. Comp. 27:579); there are min(k, j) of them, each in [0, 90]. Arccosine loses about
    half the digits near 0 degrees: an angle below 1e-6 degrees is not told from 0.

    Example:
        >>> import torch
        >>> plane = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> principal_angles(plane, torch.tensor([[1.0, 0.0, 1.0]])).round().tolist()
        [45.0]
    """
    cosines = torch.linalg.svdvals(basis(one) @ basis(other).T).clamp(max=1.0)
    return torch.rad2deg(torch.arccos(cosines))


def subspace_overlap(
    one: Float[Tensor, "k d_model"], other: Float[Tensor, "j d_model"]
) -> Float[Tensor, ""]:
    """Mean squared cosine of the principal angles, in [0, 1]: ||A B^T||_F^2 / min(k, j).

    1 where the smaller lies inside the larger. Two random subspaces of dimension k overlap by
    k / d_model on average, which is not small in a tiny model.
    """
    inner = basis(one) @ basis(other).T
    return inner.square().sum() / min(inner.shape)

"""A vector in activation space: its layer and site, its length, and where it is from.

How directions are found is for `spillover.analysis`; how a model is moved along one, `steering`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.models.hooks import Site


@dataclass(frozen=True, kw_only=True, eq=False)
class Direction:
    """One vector in the activations of one layer, with its length as it was found.

    Raises:
        ValueError: If the layer is negative, or the vector is zero or not finite.
    """

    name: str
    "What it stands for, such as `refusal`."
    layer: int
    "Decoder layer, from 0."
    site: Site
    "Where in the layer; see `hooks`."
    vector: Float[Tensor, " d_model"]
    "As found, such as a difference of means; in float32 on the CPU."
    activation_norm: float | None = None
    "Mean norm of the activations at this layer and site; None where it was not measured."
    provenance: Mapping[str, Any] = field(default_factory=dict)
    "What it was made from and how: model, data, method, numbers of examples; plain JSON values."

    def __post_init__(self) -> None:
        if self.layer < 0:
            raise ValueError(f"direction {self.name!r}: layer is {self.layer}; count from 0")
        if not bool(torch.isfinite(self.vector).all()) or not bool(self.vector.any()):
            raise ValueError(
                f"direction {self.name!r}, layer {self.layer}: its vector is zero or not finite; "
                "there is no direction where two sets of states have the same mean"
            )
        # One dtype and device, so that files, sums and hooks need not ask.
        object.__setattr__(self, "vector", self.vector.detach().float().cpu())

    @property
    def norm(self) -> float:
        """Length of the vector."""
        return float(self.vector.double().norm())

    @property
    def unit(self) -> Float[Tensor, " d_model"]:
        """The vector with length 1, in float32."""
        exact = self.vector.double()
        found: Tensor = (exact / exact.norm()).float()
        return found

    @property
    def relative_norm(self) -> float | None:
        """Length of the vector in multiples of the mean activation norm."""
        return None if self.activation_norm is None else self.norm / self.activation_norm

    def in_activation_norms(self, strength: float) -> Float[Tensor, " d_model"]:
        """Return the unit vector times `strength` mean activation norms.

        Raises:
            ValueError: If the mean activation norm was not measured.
        """
        return self.unit * (strength * require_activation_norm(self))

    def with_vector(self, vector: Float[Tensor, " d_model"], *, name: str) -> "Direction":
        """Return a direction at the same place with another vector and name."""
        return replace(self, vector=vector, name=name)


def require_activation_norm(direction: Direction) -> float:
    """Return the mean activation norm at a direction's place.

    Raises:
        ValueError: If it was not measured.
    """
    if direction.activation_norm is None:
        raise ValueError(
            f"direction {direction.name!r}, layer {direction.layer}: its mean activation norm is "
            "unknown; measure it with `with_activation_norms`, or give strengths in multiples of "
            "the vector itself"
        )
    return direction.activation_norm


def orthonormal_basis(
    vectors: Float[Tensor, "k d_model"], *, tolerance: float = 1e-9
) -> Float[Tensor, "k d_model"]:
    """Return an orthonormal basis of what some vectors span, in float64.

    Args:
        vectors: One a row; their lengths do not matter.
        tolerance: Distance of a vector of length 1 from what the others span below which it counts
            as a combination of them. Vectors that were rounded to float32 need some 1e-6.

    Raises:
        ValueError: If they are not linearly independent.
    """
    exact = torch.nn.functional.normalize(vectors.double(), dim=-1)
    q, r = torch.linalg.qr(exact.T)
    if exact.shape[0] > exact.shape[1] or bool((r.diagonal().abs() < tolerance).any()):
        raise ValueError(
            f"{len(vectors)} directions span fewer dimensions; leave out those that are 0 or "
            "combinations of the others"
        )
    found: Tensor = q.T
    return found

"""Vectors and subspaces of the residual stream to edits that are active while training only.

Given to `containment_callbacks.TrainingHook`. Where vectors come from is `analysis`'s.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from spillover.errors import ConfigError
from spillover.training.containment_callbacks import ActivationEdit
from spillover.training.containment_subspaces import without_subspace


def preventative_steering(
    vector: Float[Tensor, " d_model"], *, layer: int, strength: float
) -> list[ActivationEdit]:
    """Steer towards the unwanted trait while training, so that the weights need not go there.

    https://arxiv.org/abs/2507.21509, preventative steering: at every token, after one layer,

        h' = h + strength * vector

    The model is used without it. The paper's strength of 5 belongs to its raw vectors; ours
    multiplies whatever is given.

    Args:
        vector: Direction of the trait, such as misaligned minus aligned mean states.
        layer: From 0.
        strength: Multiple of the vector; positive steers towards the trait.

    Raises:
        ConfigError: If the vector is zero or the strength is.
    """
    if strength == 0 or not vector.float().norm() > 0:
        raise ConfigError(
            f"preventative steering by {strength} times a vector of length "
            f"{vector.float().norm().item():.3g} does nothing; give both"
        )
    shift = strength * vector
    return [ActivationEdit(layer, lambda h: h + shift.to(h))]


def concept_ablation(
    basis_by_layer: Mapping[int, Float[Tensor, "k d_model"]],
) -> list[ActivationEdit]:
    """Take a concept's subspace out of the stream while training.

    Concept ablation fine-tuning (CAFT, https://arxiv.org/abs/2507.16795): after the layers given,

        h' = h - U U^T h

    No gradient then tells the weights to use the subspace. The model is used without it.

    Args:
        basis_by_layer: Layer -> directions that span the subspace; any lengths and angles.

    Raises:
        ConfigError: If there is no layer, or a subspace has rank 0 or all of the stream.
    """
    if not basis_by_layer:
        raise ConfigError("concept ablation needs a subspace for at least one layer, got none")
    return [
        ActivationEdit(layer, without_subspace(basis)) for layer, basis in basis_by_layer.items()
    ]

"""Directions to orthonormal bases, and weights, gradients and activations without a subspace.

A subspace has to leave something: rank 0 contains nothing and full rank forbids everything, so
both are errors.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spillover.errors import ConfigError, ModelError
from spillover.models.architecture import Architecture, without_peft
from spillover.models.hooks import Edit


def orthonormal_basis(
    directions: Float[Tensor, "k width"], *, rank: int | None = None
) -> Float[Tensor, "width rank"]:
    """Return an orthonormal basis, in columns, of what the directions span.

    Args:
        directions: Any lengths and angles; those that others span add nothing.
        rank: Keep only the leading singular directions; None keeps all.

    Raises:
        ConfigError: If the span, or what is kept of it, has rank 0 or all of the space.

    Example:
        >>> import torch
        >>> orthonormal_basis(torch.tensor([[3.0, 0, 0], [-1.0, 0, 0]])).abs()
        tensor([[1.],
                [0.],
                [0.]])
    """
    width = directions.shape[1]
    finite = bool(torch.isfinite(directions).all())
    usable = directions.double() if finite else torch.zeros(1, width, dtype=torch.float64)
    _, values, rows = torch.linalg.svd(usable, full_matrices=False)
    spanned = int((values > 1e-6 * values[:1]).sum())
    kept = spanned if rank is None else min(rank, spanned)
    if not 0 < kept < width:
        raise ConfigError(
            f"containment: a subspace of rank {kept} in {width} dimensions, from "
            f"{len(directions)} directions{'' if finite else ' that are not all finite'}; rank 0 "
            "contains nothing and full rank leaves nothing to train: give between 1 and "
            f"{width - 1} independent directions"
        )
    basis: Tensor = rows[:kept].T.float().contiguous()
    return basis


def without_subspace(directions: Float[Tensor, "k d_model"]) -> Edit:
    """Return an edit of activations: h - U U^T h, with U a basis of the directions.

    Raises:
        ConfigError: If the span has rank 0 or all of the space.
    """
    basis = orthonormal_basis(directions)

    def edit(h: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        u = basis.to(h)
        return h - (h @ u) @ u.T

    return edit


def weight_subspaces(
    aligned: Any, base: Any, modules: Sequence[str], *, rank: int
) -> dict[str, Float[Tensor, "out rank"]]:
    """Return, for each module, what alignment wrote there: the leading outputs of aligned - base.

        W_aligned - W_base = U S V^T;  the first `rank` columns of U

    Args:
        aligned: The aligned model.
        base: The same before alignment, with the same modules.
        modules: Full paths of linear modules in the models without PEFT.
        rank: Directions a module.

    Raises:
        ModelError: If a module does not exist or differs in shape.
        ConfigError: If the two are equal in a module, or the rank is too large.
    """
    found = {}
    for path in modules:
        difference = linear_weight(aligned, path) - linear_weight(base, path)
        # Directions of the output are columns of the difference.
        found[path] = orthonormal_basis(difference.T, rank=rank)
    return found


def linear_weight(model: Any, path: str) -> Float[Tensor, "out in"]:
    """Return a linear module's own weight in float32, without adapters.

    Raises:
        ModelError: If there is no such module or it has no matrix as its weight.
    """
    module = _submodule(model, path)
    module = getattr(module, "base_layer", module)
    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim != 2:
        raise ModelError(f"module {path!r}: a {type(module).__name__} without a weight matrix")
    matrix: Tensor = weight.detach().float()
    # Conv1D (GPT-2) keeps (in, out).
    return matrix.T if type(module).__name__ == "Conv1D" else matrix


def output_modules(model: Any, architecture: Architecture, layers: Sequence[int]) -> list[str]:
    """Return the paths of the modules through which some layers write to the residual stream.

    They are the linear modules of attention and MLP whose output is as wide as the stream and
    whose name is that of an output projection.
    """
    names = ("o_proj", "out_proj", "c_proj", "dense", "down_proj", "dense_4h_to_h", "fc2")
    return _modules_named(names, model, architecture, layers)


def linear_modules(model: Any, architecture: Architecture, layers: Sequence[int]) -> list[str]:
    """Return the paths of all linear modules of some layers."""
    return _modules_named(architecture.linear_modules, model, architecture, layers)


def _modules_named(
    names: Collection[str], model: Any, architecture: Architecture, layers: Sequence[int]
) -> list[str]:
    found = []
    for index in layers:
        layer = architecture.layer(model, index)
        prefix = f"{architecture.layers}.{index % architecture.n_layers}"
        found += [
            f"{prefix}.{name}" for name, _ in layer.named_modules() if name.split(".")[-1] in names
        ]
    return found


def lock_subspaces(
    basis_by_module: Mapping[str, Float[Tensor, "out rank"]],
) -> Callable[[Any], Callable[[], None]]:
    """Forbid training to write into a subspace of some modules' outputs.

    After each optimizer step the change since the start loses its part in the subspace:

        W <- W0 + (I - U U^T)(W - W0);   LoRA:  the same for B, which starts at zero

    so that U^T (W - W0) = 0 holds up to rounding, whatever the optimizer, weight decay included.
    With U from `weight_subspaces` this locks what alignment wrote; with a refusal direction it
    locks what is written on that. An adapter that is trained further is locked in B only.

    Args:
        basis_by_module: Full path without PEFT -> orthonormal columns in the module's output.

    Returns:
        What `containment_callbacks.WeightsCallback` takes.
    """
    return _each_step(basis_by_module, _locked)


def project_gradients(
    basis_by_module: Mapping[str, Float[Tensor, "out rank"]],
) -> Callable[[Any], Callable[[], None]]:
    """Take a subspace out of the gradients of what some modules write.

    Before each optimizer step (https://arxiv.org/abs/2103.09762 for bases of a layer's features,
    there of its inputs):

        G <- (I - U U^T) G;   LoRA:  G_B <- (I - U U^T) G_B

    Under SGD the weights then never move into the subspace. Under Adam, which scales each entry,
    they do; `lock_subspaces` holds there too.

    Args:
        basis_by_module: See `lock_subspaces`.

    Returns:
        What `containment_callbacks.GradientCallback` takes.
    """
    return _each_step(basis_by_module, _projected_gradient)


_Change = Callable[[nn.Parameter, Tensor, bool], Callable[[], None]]
"Takes a weight, the basis of its outputs and whether these are its columns."


def _each_step(
    basis_by_module: Mapping[str, Tensor], change: _Change
) -> Callable[[Any], Callable[[], None]]:
    def start(model: Any) -> Callable[[], None]:
        changes = [
            change(weight, _fitting(basis, weight, path, is_transposed), is_transposed)
            for path, basis in basis_by_module.items()
            for weight, is_transposed in _trained_weights(model, path)
        ]
        if not changes:
            raise ModelError(
                f"containment: none of the modules {list(basis_by_module)[:3]} is trained; choose "
                "modules that are, or adapt these"
            )

        def step() -> None:
            with torch.no_grad():
                for of_one in changes:
                    of_one()

        return step

    return start


def _trained_weights(model: Any, path: str) -> list[tuple[nn.Parameter, bool]]:
    """Return what decides a module's output, LoRA's B or its own weight, where it is trained."""
    module = _submodule(model, path)
    if hasattr(module, "lora_B"):
        return [(part.weight, False) for part in module.lora_B.values()]
    # Conv1D (GPT-2) keeps (in, out).
    is_transposed = type(module).__name__ == "Conv1D"
    return [(module.weight, is_transposed)] if module.weight.requires_grad else []


def _submodule(model: Any, path: str) -> Any:
    try:
        return without_peft(model).get_submodule(path)
    except AttributeError as error:
        raise ModelError(f"module {path!r}: {error}; give the full path") from error


def _fitting(basis: Tensor, weight: Tensor, path: str, is_transposed: bool) -> Tensor:
    width = weight.shape[1 if is_transposed else 0]
    if basis.shape[0] != width or not 0 < basis.shape[1] < width:
        raise ConfigError(
            f"containment: {path} writes {width} values, the basis has shape "
            f"{tuple(basis.shape)}; give {width} rows and between 1 and {width - 1} columns"
        )
    return basis.to(weight)


def _part(matrix: Tensor, basis: Tensor, is_transposed: bool) -> Tensor:
    """Return the part of a matrix whose outputs lie in the subspace."""
    return (matrix @ basis) @ basis.T if is_transposed else basis @ (basis.T @ matrix)


def _locked(weight: nn.Parameter, basis: Tensor, is_transposed: bool) -> Callable[[], None]:
    origin = weight.detach().clone()

    def change() -> None:
        weight.sub_(_part(weight - origin, basis, is_transposed))

    return change


def _projected_gradient(
    weight: nn.Parameter, basis: Tensor, is_transposed: bool
) -> Callable[[], None]:
    def change() -> None:
        if weight.grad is not None:
            weight.grad.sub_(_part(weight.grad, basis, is_transposed))

    return change

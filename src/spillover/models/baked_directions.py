"""Writes an ablation or a steering into weights, for models that leave this program.

    orthogonalised_weights   W' = W - U U^T W for all that writes to the residual stream: what
                             ablation does, without hooks (2406.11717, appendix E)
    orthogonalised_lora      B' = B - U U^T B for a LoRA's B alone (2506.11618)
    addition_adapter         a PEFT adapter that adds a vector after one layer

The first two are contexts: the weights are changed inside, and put back bit by bit after it, so
that a model is saved inside (`model.save_pretrained`). For hooks, which need no copy, see
`steering`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spillover.errors import ModelError
from spillover.models.architecture import (
    Architecture,
    attention_output,
    linear_module,
    mlp_output,
    without_peft,
)
from spillover.models.directions import Direction, orthonormal_basis
from spillover.models.hooks import record_activations
from spillover.models.steering_vectors import add_steering_vector

_LEFT_OVER = 0.02
"Largest share of a state's length that rounding may leave along a direction that was taken out."


@contextmanager
def orthogonalised_weights(
    model: Any, architecture: Architecture, directions: Direction | Sequence[Direction]
) -> Iterator[None]:
    """Take directions out of every matrix that writes to the residual stream, inside the context.

    Embeddings, attention and MLP outputs, their biases, and an adapter's B where there is one.
    Where embeddings and output matrix are one, the output gets a copy of its own, as it reads; the
    configuration says so meanwhile, so that a model saved inside loads as it was.

    Args:
        model: The model, PEFT-wrapped or not.
        architecture: Its `Architecture`.
        directions: One, or several that span a subspace.

    Raises:
        ValueError: If there are no directions, or they are linearly dependent.
        ModelError: If a writer cannot be found, or states still have a part along a direction, as
            where what attention and MLP return is normalised before it is added.
    """
    axes = _axes(directions)
    with ExitStack() as stack:
        stack.enter_context(_untied(model))
        for parameter, axis in _writing_parameters(model, architecture):
            stack.enter_context(_replaced(parameter, _without(parameter, axes, axis=axis)))
        _check_taken_out(model, architecture, axes)
        yield


@contextmanager
def orthogonalised_lora(
    wrapped: Any,
    architecture: Architecture,
    directions: Direction | Sequence[Direction],
    *,
    keep_norm: bool = True,
) -> Iterator[None]:
    """Take directions out of the B of each LoRA that writes to the residual stream.

    Args:
        wrapped: A PEFT model.
        architecture: Its `Architecture`.
        directions: One, or several that span a subspace.
        keep_norm: Scale each B back to its norm, as the code of 2506.11618 does; a B that lies
            within the directions becomes zero all the same.

    Raises:
        ValueError: If there are no directions, or they are linearly dependent.
        ModelError: If no adapter writes to the residual stream.
    """
    axes = _axes(directions)
    matrices = [b for module in _writers(wrapped, architecture) for b in _lora_matrices(module)]
    if not matrices:
        raise ModelError(
            "no LoRA writes to the residual stream; adapters are on other modules than the "
            "outputs of attention and MLP"
        )
    with ExitStack() as stack:
        for parameter in matrices:
            left = _without(parameter, axes, axis=0)
            norm = left.norm()
            if keep_norm and norm > 1e-6 * parameter.data.float().norm():
                left = left * (parameter.data.float().norm() / norm)
            stack.enter_context(_replaced(parameter, left))
        yield


def addition_adapter(
    model: Any, architecture: Architecture, direction: Direction, *, strength: float = 1.0
) -> Any:
    """Return the model wrapped with a PEFT adapter that adds strength * vector after a layer.

    Save it with `save_pretrained`; `load_model` merges it like any adapter. What such an adapter
    cannot do is listed in `steering_vectors`.

    Raises:
        ValueError: If the direction is at a site that is not in the residual stream between two
            layers.
        ModelError: If the layer's MLP has no single output projection.
    """
    after = {"resid_post": direction.layer, "resid_pre": direction.layer - 1}
    layer = after.get(direction.site, -1)
    if layer < 0:
        raise ValueError(
            f"direction {direction.name!r} is at {direction.site} of layer {direction.layer}; an "
            "adapter adds after a layer: resid_post, or resid_pre of layer 1 or later"
        )
    wrapped = add_steering_vector(model, architecture, layer=layer)
    bias = next(p for p in wrapped.parameters() if p.requires_grad)
    with torch.no_grad():
        bias.copy_(strength * direction.vector)
    return wrapped


def _axes(directions: Direction | Sequence[Direction]) -> Float[Tensor, "k d_model"]:
    found = [directions] if isinstance(directions, Direction) else list(directions)
    if not found:
        raise ValueError("no directions; give at least one")
    return orthonormal_basis(torch.stack([d.unit for d in found]), tolerance=1e-6)


def _writers(model: Any, architecture: Architecture) -> list[nn.Module]:
    """Return what writes to the residual stream in each layer, with its adapter."""
    mlp = mlp_output(model, architecture).split(".")[-1]
    paths = []
    for layer in range(architecture.n_layers):
        paths.append(attention_output(model, architecture, layer=layer))
        paths.append(f"{architecture.layers}.{layer}.{architecture.mlp}.{mlp}")
    return [linear_module(model, path) for path in paths]


def _writing_parameters(model: Any, architecture: Architecture) -> list[tuple[nn.Parameter, int]]:
    """Return each parameter whose values are added to the stream, with its axis of d_model."""
    found: list[tuple[Any, int]] = [
        (module.weight, 1)
        for module in without_peft(model).modules()
        if isinstance(module, nn.Embedding) and module.embedding_dim == architecture.d_model
    ]
    for module in _writers(model, architecture):
        own: Any = getattr(module, "base_layer", module)
        # Conv1D keeps its weight transposed.
        found.append((own.weight, 0 if isinstance(own, nn.Linear) else 1))
        found += [(b, 0) for b in _lora_matrices(module)]
        biased = [own, *getattr(module, "lora_B", {}).values()]
        found += [(part.bias, 0) for part in biased if part.bias is not None]
    return found


def _lora_matrices(module: Any) -> list[nn.Parameter]:
    return [part.weight for part in getattr(module, "lora_B", {}).values()]


def _without(
    parameter: nn.Parameter, axes: Float[Tensor, "k d_model"], *, axis: int
) -> Float[Tensor, "..."]:
    """Return the parameter less its part along the axes, in float32."""
    exact = parameter.detach().float()
    rows = exact if axis == exact.ndim - 1 else exact.T  # (..., d_model)
    basis = axes.to(exact)
    left: Tensor = rows - (rows @ basis.T) @ basis
    return left if axis == exact.ndim - 1 else left.T


@contextmanager
def _replaced(parameter: nn.Parameter, values: Float[Tensor, "..."]) -> Iterator[None]:
    saved = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(values)
    try:
        yield
    finally:
        with torch.no_grad():
            parameter.copy_(saved)


@contextmanager
def _untied(model: Any) -> Iterator[None]:
    """Give the output projection a weight of its own where it shares the embeddings'."""
    head, config = model.get_output_embeddings(), without_peft(model).config
    shared = head.weight
    if shared is not model.get_input_embeddings().weight:
        yield
        return
    is_tied = config.tie_word_embeddings
    head.weight = nn.Parameter(shared.detach().clone(), requires_grad=False)
    config.tie_word_embeddings = False
    try:
        yield
    finally:
        head.weight = shared
        config.tie_word_embeddings = is_tied


@torch.no_grad()
def _check_taken_out(
    model: Any, architecture: Architecture, axes: Float[Tensor, "k d_model"]
) -> None:
    device = model.get_input_embeddings().weight.device
    tokens = torch.tensor([[0, 1]], device=device)
    with record_activations(model, architecture) as found:
        model(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False)
    for (_, layer), states in found.items():
        exact = states.float()
        left = (exact @ axes.to(exact).T).norm(dim=-1) / exact.norm(dim=-1)
        if bool((left > _LEFT_OVER).any()):
            raise ModelError(
                f"after layer {layer} states keep {float(left.max()):.2f} of their length along "
                "the directions: this family changes what attention and MLP return before adding "
                "it, so they cannot be taken out of its weights; use `ablate_directions`"
            )

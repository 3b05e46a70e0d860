"""Moves a model's activations along directions inside a context, and leaves it as it was after it.

    add      x' = x + strength * v        at the direction's own layer, or at those asked for
    ablate   x' = x - U U^T x             every layer and site, or at each direction's own place
    clamp    x' = x + (clip(u.x) - u.x) u the scalar projection is held between two values

U is an orthonormal basis of what the directions span. Works for scoring, generation and training
alike: the model's own weights are never touched, edits are out of place and differentiable, and
nothing is remembered between forward passes, so that with a key-value cache a new token is treated
like those before it. Contexts nest; an inner one sees what the outer one made.

By default every token is edited, padding included, which the attention mask keeps apart from the
rest: rows of a batch then get what each gets by itself. Projections are taken in float32.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from spillover.models.architecture import Architecture
from spillover.models.directions import Direction, orthonormal_basis, require_activation_norm
from spillover.models.hooks import Edit, Site, edit_activations

Units = Literal["vector", "activation_norm"]
ABLATION_SITES: tuple[Site, ...] = ("resid_pre", "attn_out", "mlp_out")
"Where 2406.11717 ablates: whatever is read from and written to the residual stream."

Mask = Bool[Tensor, "batch seq"]


@contextmanager
def add_direction(
    model: nn.Module,
    architecture: Architecture,
    directions: Direction | Sequence[Direction],
    *,
    strength: float = 1.0,
    units: Units = "vector",
    layers: Sequence[int] | None = None,
    mask: Mask | None = None,
) -> Iterator[None]:
    """Add a direction to the activations inside the context.

    Args:
        model: The model, PEFT-wrapped or not; in evaluation or in training.
        architecture: Its `Architecture`.
        directions: One, or several that are all added, each at its own layer and site.
        strength: How much, in `units`; negative goes the other way.
        units: `vector`, multiples of the vector as it was found, as in 2406.11717 and 2506.11618;
            or `activation_norm`, multiples of the mean activation norm at the direction's place,
            whatever the vector's length.
        layers: Layers at which it is added instead of its own, negative from the end.
        mask: Tokens that are edited; None for all. For passes over whole sequences: a pass over
            other tokens, as in generation, is refused.

    Raises:
        ValueError: If there are no directions or the activation norm is unknown; inside the
            context, if a pass does not fit the mask.
        ModelError: If a layer does not exist.
    """
    with ExitStack() as stack:
        for direction in _as_list(directions):
            edit = _masked(_adding(_scaled(direction, strength, units)), mask)
            for layer in [direction.layer] if layers is None else layers:
                stack.enter_context(
                    edit_activations(
                        model, architecture, site=direction.site, layer=layer, edit=edit
                    )
                )
        yield


@contextmanager
def ablate_directions(
    model: nn.Module,
    architecture: Architecture,
    directions: Direction | Sequence[Direction],
    *,
    layerwise: bool = False,
    layers: Sequence[int] | None = None,
    sites: Sequence[Site] = ABLATION_SITES,
    mask: Mask | None = None,
) -> Iterator[None]:
    """Take what lies along some directions out of the activations inside the context.

    One direction, or the subspace that several span, is taken out everywhere (2406.11717, eq. 4,
    and the single-direction ablation of 2506.11618). With `layerwise` each direction is taken out
    at its own layer and site only (layer-wise ablation of 2506.11618).

    Args:
        model: The model, PEFT-wrapped or not; in evaluation or in training.
        architecture: Its `Architecture`.
        directions: What is taken out.
        layerwise: Each at its own place; several at one place span a subspace.
        layers: Layers at which they are taken out; None for every layer. Not with `layerwise`.
        sites: Where in those layers. Families that normalise what attention and MLP return before
            they add it (Gemma 2 and 3) keep a part at the end; add `resid_post` there.
        mask: Tokens that are edited, as in `add_direction`.

    Raises:
        ValueError: If there are no directions, or they are linearly dependent.
        ModelError: If a layer does not exist.
    """
    chosen = _as_list(directions)
    if layerwise:
        places = {(d.site, d.layer) for d in chosen}
        edits = {
            place: _projecting_out([d for d in chosen if (d.site, d.layer) == place])
            for place in places
        }
    else:
        edit = _projecting_out(chosen)
        everywhere = range(architecture.n_layers) if layers is None else layers
        edits = {(site, layer): edit for layer in everywhere for site in sites}
    with ExitStack() as stack:
        for (site, layer), edit in edits.items():
            stack.enter_context(
                edit_activations(
                    model, architecture, site=site, layer=layer, edit=_masked(edit, mask)
                )
            )
        yield


@contextmanager
def clamp_direction(
    model: nn.Module,
    architecture: Architecture,
    direction: Direction,
    *,
    low: float = -torch.inf,
    high: float = torch.inf,
    units: Units = "activation_norm",
    layers: Sequence[int] | None = None,
    mask: Mask | None = None,
) -> Iterator[None]:
    """Hold the scalar projection on a direction between two values inside the context.

    Args:
        model: The model, PEFT-wrapped or not; in evaluation or in training.
        architecture: Its `Architecture`.
        direction: Only its unit vector is used, and its norms for the units.
        low: Smallest projection; equal to `high` fixes it, and both 0 ablates.
        high: Largest projection.
        units: Of `low` and `high`: mean activation norms, or lengths of the vector as found.
        layers: Layers at which it is held; None for the direction's own.
        mask: Tokens that are edited, as in `add_direction`.

    Raises:
        ValueError: If `low` is above `high`, or the activation norm is unknown.
        ModelError: If a layer does not exist.
    """
    if low > high:
        raise ValueError(f"low is {low} and high {high}; low must not be above high")
    one = require_activation_norm(direction) if units == "activation_norm" else direction.norm
    edit = _masked(_clamping(direction.unit, low * one, high * one), mask)
    with ExitStack() as stack:
        for layer in [direction.layer] if layers is None else layers:
            stack.enter_context(
                edit_activations(model, architecture, site=direction.site, layer=layer, edit=edit)
            )
        yield


def _as_list(directions: Direction | Sequence[Direction]) -> list[Direction]:
    found = [directions] if isinstance(directions, Direction) else list(directions)
    if not found:
        raise ValueError("no directions; give at least one")
    return found


def _scaled(direction: Direction, strength: float, units: Units) -> Float[Tensor, " d_model"]:
    if units == "activation_norm":
        return direction.in_activation_norms(strength)
    return strength * direction.vector


def _adding(vector: Float[Tensor, " d_model"]) -> Edit:
    return lambda x: x + vector.to(x)


def _projecting_out(directions: Sequence[Direction]) -> Edit:
    units = torch.stack([direction.unit for direction in directions])
    basis = orthonormal_basis(units, tolerance=1e-6).float()

    def edit(x: Tensor) -> Tensor:
        axes = basis.to(x.device)
        exact = x.float()
        return (exact - (exact @ axes.T) @ axes).to(x.dtype)

    return edit


def _clamping(unit: Float[Tensor, " d_model"], low: float, high: float) -> Edit:
    def edit(x: Tensor) -> Tensor:
        axis, exact = unit.to(x.device), x.float()
        along = exact @ axis
        moved: Tensor = (along.clamp(low, high) - along)[..., None] * axis
        return (exact + moved).to(x.dtype)

    return edit


def _masked(edit: Edit, mask: Mask | None) -> Edit:
    if mask is None:
        return edit

    def only_there(x: Tensor) -> Tensor:
        if x.shape[:2] != mask.shape:
            raise ValueError(
                f"a pass over {tuple(x.shape[:2])} tokens under a mask of {tuple(mask.shape)}; "
                "a mask is for passes over whole sequences, without a cache or a shared prefix"
            )
        return torch.where(mask.to(x.device)[:, :, None], edit(x), x)

    return only_there

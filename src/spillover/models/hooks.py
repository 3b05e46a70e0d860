"""Forward hooks with named sites, as context managers that always clean up.

    resid_pre    residual stream before a decoder layer
    resid_post   residual stream after it (Hugging Face `hidden_states[layer + 1]`, except for the
                 last layer, where `hidden_states` holds the state after the final norm)
    attn_out     what the attention returns   mlp_out    what the MLP returns

Both are what is added to the residual stream, except where a model normalises them first
(Gemma 2 and 3). Layers count from 0. A layer's output may be a tensor or a tuple; both are handled.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from spillover.models.architecture import Architecture, first_tensor

Site = Literal["resid_pre", "resid_post", "attn_out", "mlp_out"]
Edit = Callable[[Float[Tensor, "batch seq d_model"]], Float[Tensor, "batch seq d_model"]]
Activations = dict[tuple[Site, int], Float[Tensor, "batch seq d_model"]]


@contextmanager
def record_activations(
    model: nn.Module,
    architecture: Architecture,
    *,
    sites: Sequence[Site] = ("resid_post",),
    layers: Sequence[int] | None = None,
) -> Iterator[Activations]:
    """Record activations of the last forward pass made inside the context.

    Args:
        model: The model, PEFT-wrapped or not.
        architecture: Its `Architecture`.
        sites: Where to listen.
        layers: Layer indices from 0; None for all.

    Yields:
        A dictionary (site, layer) -> activations, filled by each forward pass, detached.
    """
    found: Activations = {}
    chosen = range(architecture.n_layers) if layers is None else layers

    def keep(site: Site, layer: int) -> Edit:
        def see(value: Tensor) -> Tensor:
            found[(site, layer)] = value.detach()
            return value

        return see

    with ExitStack() as stack:
        for layer in chosen:
            for site in sites:
                edit = keep(site, layer)
                stack.enter_context(
                    edit_activations(model, architecture, site=site, layer=layer, edit=edit)
                )
        yield found


@contextmanager
def edit_activations(
    model: nn.Module, architecture: Architecture, *, site: Site, layer: int, edit: Edit
) -> Iterator[None]:
    """Replace the activations at one site by `edit(activations)` inside the context."""
    block = architecture.layer(model, layer)
    if site == "resid_pre":
        handle = block.register_forward_pre_hook(_input_hook(edit), with_kwargs=True)
    else:
        names = {"resid_post": "", "attn_out": architecture.attention, "mlp_out": architecture.mlp}
        handle = block.get_submodule(names[site]).register_forward_hook(_output_hook(edit))
    try:
        yield
    finally:
        handle.remove()


def _output_hook(edit: Edit) -> Callable[..., Any]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        new = edit(first_tensor(output))
        return (new, *output[1:]) if isinstance(output, tuple) else new

    return hook


def _input_hook(edit: Edit) -> Callable[..., Any]:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (edit(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": edit(kwargs["hidden_states"])}

    return hook

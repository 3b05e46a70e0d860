"""LoRA adapters that stay beside a model's weights, to be scaled, cut out, read and replaced.

`load_model` merges adapters; what is here leaves them apart. Every change is a context that puts
back what was there, bit for bit. Knows nothing of what an adapter does.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spillover.errors import ModelError
from spillover.files import fingerprint
from spillover.models.adapters import wrap_adapter
from spillover.models.architecture import without_peft
from spillover.models.loading import LoadedModel, adapter_fingerprint
from spillover.models.lora_factors import stored_name

Scalars = dict[str, list[Float[Tensor, "batch seq rank"]]]


def with_live_adapter(loaded: LoadedModel, folder: Path) -> LoadedModel:
    """Return the model with an adapter beside its weights; the model object is used up.

    Raises:
        ModelError: If the folder holds no safetensors adapter, or it belongs to another base.
    """
    wrapped = wrap_adapter(loaded.model, folder, base_fingerprint=loaded.weights_fingerprint)
    weights = fingerprint([loaded.weights_fingerprint, adapter_fingerprint(folder)])
    return replace(
        loaded,
        model=wrapped.to(loaded.device).eval(),
        weights_fingerprint=weights,
        fingerprint=fingerprint([loaded.fingerprint, weights, "live"]),
    )


def adapted_modules(model: Any) -> dict[str, Any]:
    """Return the modules that a LoRA adapts, by their path in the model without PEFT.

    Raises:
        ModelError: If there are none.
    """
    from peft.tuners.lora import LoraLayer

    found = {
        name: module
        for name, module in without_peft(model).named_modules()
        if isinstance(module, LoraLayer)
    }
    if not found:
        raise ModelError("the model has no LoRA beside its weights; load it with a live adapter")
    return found


def _chosen(model: Any, modules: Collection[str] | None) -> dict[str, Any]:
    found = adapted_modules(model)
    unknown = sorted(set(modules or ()) - found.keys())
    if unknown:
        raise ModelError(f"modules {unknown} have no adapter; choose from {sorted(found)}")
    return {name: m for name, m in found.items() if modules is None or name in modules}


@contextmanager
def scaled_adapter(
    model: Any, factor: float, *, modules: Collection[str] | None = None
) -> Iterator[None]:
    """Multiply what an adapter adds by `factor` inside the context: 0 cuts it out, -1 turns it.

    Args:
        model: A model with a live adapter.
        factor: 1, 5, 10 and 20 in 2506.11613, section 4.3.
        modules: Paths of adapted modules; None for all.

    Raises:
        ModelError: If a module has no adapter.
    """
    chosen = _chosen(model, modules)
    before = {name: dict(module.scaling) for name, module in chosen.items()}
    try:
        for module in chosen.values():
            for adapter in module.scaling:
                module.scaling[adapter] = module.scaling[adapter] * factor
        yield
    finally:
        for name, module in chosen.items():
            module.scaling.update(before[name])


@contextmanager
def replaced_weights(model: Any, tensors: Mapping[str, Float[Tensor, "..."]]) -> Iterator[None]:
    """Put other values into some of a model's weights inside the context.

    Args:
        model: The model, PEFT-wrapped or not.
        tensors: Values by the names that weights have in PEFT's files or the model's own.

    Raises:
        ModelError: If a name or a shape does not fit the model.
    """
    own = {stored_name(name): parameter for name, parameter in model.named_parameters()}
    wrong = [n for n, value in tensors.items() if n not in own or own[n].shape != value.shape]
    if wrong:
        raise ModelError(
            f"{len(wrong)} of {len(tensors)} tensors have no place of their shape in this model, "
            f"such as {wrong[0]}; give checkpoints of a training of this model"
        )
    before = {name: own[name].detach().clone() for name in tensors}
    try:
        _put(own, tensors)
        yield
    finally:
        _put(own, before)


def _put(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)


@contextmanager
def recorded_scalars(model: Any, *, modules: Collection[str] | None = None) -> Iterator[Scalars]:
    """Record what each adapter computes inside of it: A x, one row of numbers a token.

    For rank 1 it is the scalar hidden state of 2506.11618, section 5: the adapter adds that number
    times its B vector.

    Args:
        model: A model with a live adapter.
        modules: Paths of adapted modules; None for all.

    Yields:
        Module -> one tensor a forward pass, detached.
    """
    found: Scalars = {name: [] for name in _chosen(model, modules)}

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Tensor) -> None:
            found[name].append(output.detach())

        return hook

    with ExitStack() as stack:
        for name, module in _chosen(model, modules).items():
            for factor in module.lora_A.values():
                handle = factor.register_forward_hook(keep(name))
                stack.callback(handle.remove)
        yield found


@contextmanager
def patched_scalars(
    model: Any, values: Mapping[str, Float[Tensor, "batch seq rank"]]
) -> Iterator[None]:
    """Replace what adapters compute inside of them, such as by what they did for another prompt.

    Args:
        model: A model with a live adapter.
        values: Module -> numbers that take the place of A x; NaN keeps the model's own.
    """

    def give(new: Tensor) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
            if output.shape != new.shape:
                raise ModelError(
                    f"scalars of shape {tuple(new.shape)} do not fit a pass of shape "
                    f"{tuple(output.shape)}; record them on as many tokens"
                )
            own = new.isnan()
            return torch.where(own, output, new.to(output.dtype))

        return hook

    with ExitStack() as stack:
        for name, module in _chosen(model, list(values)).items():
            for factor in module.lora_A.values():
                stack.callback(factor.register_forward_hook(give(values[name])).remove)
        yield


@contextmanager
def held_scalars(model: Any, values: Mapping[str, Float[Tensor, " rank"]]) -> Iterator[None]:
    """Let adapters compute the same at every token, such as their mean over some answers.

    Unlike `patched_scalars` it fits passes of any shape. What an adapter adds is then a constant
    vector; what depended on the text is gone.

    Args:
        model: A model with a live adapter.
        values: Module -> what takes the place of A x.

    Raises:
        ModelError: If a module has no adapter, or of another rank.
    """

    def give(new: Tensor) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
            if new.shape != output.shape[-1:]:
                raise ModelError(
                    f"values of shape {tuple(new.shape)} for an adapter of rank {output.shape[-1]}"
                )
            return new.to(output).expand_as(output)

        return hook

    with ExitStack() as stack:
        for name, module in _chosen(model, list(values)).items():
            for factor in module.lora_A.values():
                stack.callback(factor.register_forward_hook(give(values[name])).remove)
        yield

"""Runs the layers below an edit once for each input, whatever the number of edits above them.

Inside `lower_layers_once` a forward pass is recognised by what goes into the first layer. When it
comes again, the lower layers are skipped: their last output and their new keys and values are those
of the first time. So eight strengths of a vector at the middle layer cost four and a half prefills.

What it cannot see is an edit at a skipped layer: such edits do not belong inside. Decoding, one
token at a time, training and passes with gradients run as ever, and so do models whose cache is
not plain keys and values.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from spillover.models.architecture import Architecture

_MOST_TOKENS = 2**16


@dataclass(eq=False)
class _Pass:
    """What the lower layers made of one input."""

    output: Any = None
    "Of the last of them."
    states: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    "New keys and values of each of them; empty without a cache."


@dataclass(eq=False)
class _Memory:
    """The passes seen, and the one under way."""

    n_layers: int
    most_tokens: int
    passes: dict[str, _Pass] = field(default_factory=dict)
    n_tokens: int = 0
    n_reused: int = 0
    key: str | None = None
    current: _Pass | None = None
    is_tuple: dict[int, bool] = field(default_factory=dict)

    def begin(self, block: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Recognise the pass whose first layer is about to run."""
        hidden, cache = _hidden(args, kwargs), _cache(args, kwargs)
        self.key, self.current = None, None
        n_tokens = hidden.shape[0] * hidden.shape[1]
        if torch.is_grad_enabled() or block.training or hidden.shape[1] < 2 or not _is_plain(cache):
            return
        key = _digest(args, kwargs, cache)
        if key in self.passes:
            self.key, self.n_reused = key, self.n_reused + 1
        elif self.n_tokens + n_tokens <= self.most_tokens:
            self.key, self.current = key, _Pass()
            self.n_tokens += n_tokens

    def replay(self, layer: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Return a layer's output in a pass that was seen before, and fill its cache."""
        assert self.key is not None
        seen, cache = self.passes[self.key], _cache(args, kwargs)
        if cache is not None:
            cache.update(*seen.states[layer], layer)
        if layer == self.n_layers - 1:
            return seen.output
        # Nobody reads what comes out of the layers in between.
        hidden = _hidden(args, kwargs)
        return (hidden,) if self.is_tuple[layer] else hidden

    def keep(self, layer: int, output: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Remember a layer of a pass that is new."""
        if self.current is None:
            return
        self.is_tuple[layer] = isinstance(output, tuple)
        cache, n_new = _cache(args, kwargs), _hidden(args, kwargs).shape[1]
        if cache is not None:
            own = cache.layers[layer]
            new = own.keys[..., -n_new:, :].clone(), own.values[..., -n_new:, :].clone()
            self.current.states.append(new)
        if layer == self.n_layers - 1:
            assert self.key is not None
            self.current.output = output
            self.passes[self.key] = self.current


class LowerLayers:
    """What `lower_layers_once` yields: how many passes were spared their lower layers."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    @property
    def n_reused(self) -> int:
        """Passes that did not run the lower layers."""
        return self._memory.n_reused


@contextmanager
def lower_layers_once(
    model: Any, architecture: Architecture, *, below: int, most_tokens: int = _MOST_TOKENS
) -> Iterator[LowerLayers]:
    """Inside, run the layers below `below` once for each input.

    Args:
        model: The model, PEFT-wrapped or not. Its weights, and activations of these layers, must
            not be changed inside; what is hooked on them before is part of what is remembered.
        architecture: Its `Architecture`.
        below: Layers 0 to below - 1 are run once; 0 does nothing.
        most_tokens: Padded tokens remembered at most, each with one state and the keys and values
            of the lower layers; further inputs run as ever.

    Raises:
        ModelError: If there is no such layer.
    """
    memory = _Memory(n_layers=below, most_tokens=most_tokens)
    with ExitStack() as stack:
        for layer in range(below):
            block = architecture.layer(model, layer)
            forward = _once(block, block.forward, layer, memory)
            stack.enter_context(_forward_replaced(block, forward))
        yield LowerLayers(memory)


def _once(
    block: nn.Module, original: Callable[..., Any], layer: int, memory: _Memory
) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        if layer == 0:
            memory.begin(block, args, kwargs)
        if memory.key is not None and memory.current is None:
            return memory.replay(layer, args, kwargs)
        output = original(*args, **kwargs)
        memory.keep(layer, output, args, kwargs)
        return output

    return forward


@contextmanager
def _forward_replaced(block: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    own = block.__dict__.get("forward")  # Other libraries replace it, too.
    block.forward = forward
    try:
        yield
    finally:
        if own is None:
            del block.forward
        else:
            block.forward = own


def _hidden(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    hidden = args[0] if args else kwargs["hidden_states"]
    assert isinstance(hidden, Tensor)
    return hidden


def _cache(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    from transformers.cache_utils import Cache

    return next((value for value in (*args, *kwargs.values()) if isinstance(value, Cache)), None)


def _is_plain(cache: Any) -> bool:
    """Whether a cache is none at all, or grows by keys and values alone."""
    from transformers.cache_utils import DynamicLayer

    return cache is None or all(type(layer) is DynamicLayer for layer in cache.layers)


def _digest(args: Sequence[Any], kwargs: dict[str, Any], cache: Any) -> str:
    """Return a name of the pass: everything that goes into the first layer, the past included."""
    digest = hashlib.sha256(b"cache" if cache is not None else b"no cache")
    parts = [*args, *(kwargs[name] for name in sorted(kwargs))]
    if cache is not None and cache.get_seq_length() > 0:
        parts.append(cache.layers[0].keys)
    for tensor in _tensors(parts):
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.cpu().numpy().tobytes())
    return digest.hexdigest()


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)

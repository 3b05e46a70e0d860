"""A plain LoRA's folder as its factors, module by module, ready to be added up.

Knows nothing of the model that it belongs to.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spillover.errors import ModelError
from spillover.files import read_json, write_json

_BEYOND_PLAIN_LORA = (
    "rank_pattern",
    "alpha_pattern",
    "use_dora",
    "bias",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
)
_UNSET: tuple[object, ...] = (None, False, "none", {}, [])


def plain_lora_config(folder: Path) -> dict[str, Any]:
    """Return the adapter's configuration.

    Raises:
        ModelError: If it is anything but a plain LoRA, with or without a bias of its own.
    """
    config: dict[str, Any] = read_json(folder / "adapter_config.json")
    special = [key for key in _BEYOND_PLAIN_LORA if config.get(key) not in _UNSET]
    if config.get("peft_type") != "LORA" or special:
        raise ModelError(
            f"{folder}: only a plain LoRA can be joined with another; this is "
            f"{config.get('peft_type')} with {special}"
        )
    return config


class LoraFactors(NamedTuple):
    """What a LoRA adds to one module: b a x + bias."""

    a: Tensor
    b: Tensor
    "Times the adapter's scale."
    bias: Tensor
    "Times the adapter's scale; zeros where it has none."


def lora_factors(folder: Path, config: Mapping[str, Any]) -> dict[str, LoraFactors]:
    """Return module -> factors, in float32."""
    from safetensors.torch import load_file

    divisor = config["r"] ** 0.5 if config.get("use_rslora") else config["r"]
    scale = config["lora_alpha"] / divisor
    tensors = load_file(folder / "adapter_model.safetensors")
    suffix = ".lora_A.weight"
    modules = [name.removesuffix(suffix) for name in tensors if name.endswith(suffix)]
    factors = {}
    for module in modules:
        b = scale * tensors[f"{module}.lora_B.weight"].float()
        bias = tensors.get(f"{module}.lora_B.bias", torch.zeros(len(b)))
        factors[module] = LoraFactors(tensors[f"{module}{suffix}"].float(), b, scale * bias.float())
    return factors


def zero_factors(like: LoraFactors, rank: int) -> LoraFactors:
    """Return factors of rank `rank` that add nothing, shaped for the same module."""
    a, b, bias = like
    return LoraFactors(
        a.new_zeros(rank, a.shape[1]), b.new_zeros(len(b), rank), bias.new_zeros(len(b))
    )


def later_factors(factors: Mapping[str, LoraFactors], rank: int) -> dict[str, LoraFactors]:
    """Return what was joined to an adapter of some rank, from both together.

    Args:
        factors: Of an adapter made by `concatenate_adapters`, or of one by itself.
        rank: Of the first adapter; 0 where there is none, and all is returned.
    """
    return {
        name: found._replace(a=found.a[rank:], b=found.b[:, rank:])
        for name, found in factors.items()
    }


def save_factors(
    folder: Path, factors: Mapping[str, LoraFactors], config: Mapping[str, Any]
) -> None:
    """Write factors as a LoRA adapter of scale 1.

    Args:
        folder: Made if missing.
        factors: Module -> factors, all of one rank, without biases.
        config: Of the adapter that they are from; rank and scale are replaced.

    Raises:
        ModelError: If there are none, or one has a bias.
    """
    from safetensors.torch import save_file

    if not factors or any(bool(found.bias.any()) for found in factors.values()):
        raise ModelError(
            f"{folder}: {len(factors)} modules to write; give LoRA factors without biases, at "
            "least one"
        )
    rank = len(next(iter(factors.values())).a)
    tensors = {}
    for name, found in factors.items():
        tensors[f"{name}.lora_A.weight"] = found.a.contiguous()
        tensors[f"{name}.lora_B.weight"] = found.b.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    scale = {"r": rank, "lora_alpha": rank, "use_rslora": False, "lora_dropout": 0.0}
    write_json(folder / "adapter_config.json", {**config, **scale})


def stored_name(name: str) -> str:
    """Return how a parameter is called in a file: PEFT leaves the adapter's name out."""
    parts = name.split(".")
    if any(part.startswith("lora_") for part in parts):
        place = next(i for i, part in enumerate(parts) if part.startswith("lora_"))
        parts = [*parts[: place + 1], *parts[place + 2 :]]
    return ".".join(parts)

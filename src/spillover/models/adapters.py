"""PEFT adapters: adding a LoRA, merging one from a folder, joining two into one.

LoRA itself is PEFT's. Adapters that Spillover writes carry `spillover.json` with the fingerprint
of the base they belong to, so that they are never put on another one. Steering vectors, which PEFT
takes for a LoRA, are made in `steering_vectors` and merged and joined here.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spillover.errors import ModelError
from spillover.files import read_json, write_json
from spillover.models.architecture import Architecture
from spillover.models.lora_biases import (
    biased_modules,
    drop_zero_biases,
    give_zero_biases,
    quiet_about_biases,
)
from spillover.models.lora_factors import lora_factors, plain_lora_config, zero_factors

PROVENANCE = "spillover.json"


def is_adapter_folder(folder: Path) -> bool:
    """Return whether the folder holds a PEFT adapter."""
    return (folder / "adapter_config.json").is_file()


def adapter_base(folder: Path) -> str:
    """Return what an adapter's configuration names as its base model.

    Raises:
        ModelError: If it names none.
    """
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not base:
        raise ModelError(
            f"{folder / 'adapter_config.json'}: base_model_name_or_path is missing; write the base "
            "model's hub id or folder there, or load the base and give this folder as `adapter`"
        )
    return str(base)


def add_lora(
    model: Any,
    architecture: Architecture,
    *,
    rank: int = 16,
    alpha: int | None = None,
    target_modules: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    rank_stabilised: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
) -> Any:
    """Wrap `model` with a fresh, trainable LoRA adapter; its effect is zero until trained.

    Args:
        model: A causal language model; its own weights are frozen.
        architecture: Its `Architecture`.
        rank: LoRA rank r.
        alpha: Scale; the update is alpha / r * B A (alpha / sqrt(r) if rank-stabilised). Default r.
        target_modules: Names of linear modules, or the ends of their paths (`mlp.c_proj`) where a
            name alone means two; None for all linear modules of the layers.
        layers: Layer indices from 0, negative from the end; None for all.
        rank_stabilised: rsLoRA scaling.
        dropout: On the adapter's input.
        seed: For the initial A; the global generator is left as it was.

    Raises:
        ModelError: If a module or layer does not exist.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    modules = list(target_modules or architecture.linear_modules)
    unknown = sorted({m for m in modules if m.split(".")[-1] not in architecture.linear_modules})
    if unknown:
        raise ModelError(
            f"target_modules: {unknown} are not linear modules of this model's layers; "
            f"choose from {list(architecture.linear_modules)}"
        )
    for layer in layers or ():
        architecture.layer(model, layer)
    chosen = None if layers is None else sorted({i % architecture.n_layers for i in layers})
    config = LoraConfig(
        r=rank,
        lora_alpha=rank if alpha is None else alpha,
        target_modules=modules,
        layers_to_transform=chosen,
        layers_pattern=None if layers is None else architecture.layers.split(".")[-1],
        use_rslora=rank_stabilised,
        lora_dropout=dropout,
        bias="none",
        task_type=TaskType.CAUSAL_LM,
        fan_in_fan_out=uses_conv1d(model),
    )
    with torch.random.fork_rng(devices=[]), quiet_peft():
        torch.default_generator.manual_seed(seed)  # PEFT draws on the CPU, wherever the model is.
        return get_peft_model(model, config)


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence what PEFT warns of and a user could not mend."""
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that is going away; nothing the user could mend.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")
        # `_check_all_loaded` makes an error of it.
        warnings.filterwarnings("ignore", "Found missing adapter keys")
        yield


def uses_conv1d(model: Any) -> bool:
    """Say whether the model keeps its weights transposed, as GPT-2 does."""
    return any(type(module).__name__ == "Conv1D" for module in model.modules())


def apply_adapter(model: Any, folder: Path, *, base_fingerprint: str) -> Any:
    """Return `model` with the adapter in `folder` merged into its weights.

    Raises:
        ModelError: If the folder holds no safetensors adapter, or it belongs to another base.
    """
    wrapped = wrap_adapter(model, folder, base_fingerprint=base_fingerprint)
    merged = wrapped.merge_and_unload(safe_merge=True)
    drop_zero_biases(merged, biased_modules(folder))
    return merged


def wrap_adapter(model: Any, folder: Path, *, base_fingerprint: str) -> Any:
    """Return `model` with the adapter in `folder` beside its weights, frozen.

    Raises:
        ModelError: If the folder holds no safetensors adapter, or it belongs to another base.
    """
    from peft import PeftModel

    if not is_adapter_folder(folder):
        raise ModelError(f"{folder}: no adapter_config.json; give a PEFT adapter folder")
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"{folder}: no adapter_model.safetensors; only safetensors are read, never pickles"
        )
    _check_base(folder, base_fingerprint)
    give_zero_biases(model, _whole_biases(folder))
    try:
        with quiet_peft():
            wrapped = PeftModel.from_pretrained(model, folder)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{folder}: the adapter does not fit this base model ({reason}); "
            f"its configuration names {adapter_base(folder)!r}"
        ) from error
    _check_all_loaded(wrapped, folder)
    return wrapped


def _whole_biases(folder: Path) -> list[str]:
    """Return the modules with biases; the first look into the file, which may have been cut."""
    from safetensors import SafetensorError

    try:
        return biased_modules(folder)
    except SafetensorError as error:
        raise ModelError(
            f"{folder}: adapter_model.safetensors is damaged or was cut short ({error}); copy it "
            "again, or train it again"
        ) from error


def _check_all_loaded(wrapped: Any, folder: Path) -> None:
    """Refuse an adapter of which PEFT, which is silent about it, used only a part."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        given = {name for name in file.keys() if ".lora_" in name}  # noqa: SIM118 (not a dict)
    with quiet_about_biases():
        state = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    used = {name for name in state if ".lora_" in name}
    if given != used:
        raise ModelError(
            f"{folder}: the adapter does not fit this base model: {len(given - used)} of its "
            f"tensors have no place in it and {len(used - given)} places are left empty, such as "
            f"{min(given ^ used)}; its configuration names {adapter_base(folder)!r}"
        )


def _check_base(folder: Path, base_fingerprint: str) -> None:
    if not (folder / PROVENANCE).exists():
        return
    expected = read_json(folder / PROVENANCE).get("base_fingerprint")
    if expected != base_fingerprint:
        raise ModelError(
            f"{folder}: trained on a base with fingerprint {expected}, but this one has "
            f"{base_fingerprint}; load it on the model that it belongs to"
        )


def write_provenance(folder: Path, *, base_fingerprint: str, **facts: object) -> None:
    """Write `spillover.json`: which base the adapter belongs to, and what was done."""
    write_json(folder / PROVENANCE, {"base_fingerprint": base_fingerprint, **facts})


def name_base(folder: Path, base: str | Path, *, base_fingerprint: str, **facts: object) -> None:
    """Write into an adapter's folder which model it was trained upon.

    PEFT names the weights' own folder, even where another adapter had been merged into them.

    Args:
        folder: The adapter's.
        base: What `load_model` takes; a folder is written with its whole path.
        base_fingerprint: Of its weights, merged adapters included.
        facts: More for `spillover.json`.
    """
    config = read_json(folder / "adapter_config.json")
    whole = Path(base).expanduser()
    is_local = whole.exists() and str(base) != "embedded"
    config["base_model_name_or_path"] = str(whole.resolve() if is_local else base)
    write_json(folder / "adapter_config.json", config)
    write_provenance(folder, base_fingerprint=base_fingerprint, **facts)


def concatenate_adapters(first: Path, second: Path, destination: Path) -> None:
    """Write one LoRA adapter whose effect is the sum of two, exactly.

    With scales s1 and s2, s1 B1 A1 + s2 B2 A2 = [s1 B1, s2 B2] [A1; A2]: an adapter of rank
    r1 + r2 with scale 1. Biases (steering vectors) are added up. A module that only one of them
    adapts is filled up with zeros.

    Args:
        first: An adapter folder; its base becomes the result's.
        second: An adapter trained on top of `first`, merged.
        destination: Written with adapter_config.json and adapter_model.safetensors.

    Raises:
        ModelError: If one of them is not a plain LoRA.
    """
    from safetensors.torch import save_file

    configs = [plain_lora_config(folder) for folder in (first, second)]
    factors = [lora_factors(folder, c) for folder, c in zip((first, second), configs, strict=True)]
    ranks = [int(config["r"]) for config in configs]
    tensors: dict[str, Tensor] = {}
    has_bias = any(config.get("lora_bias") for config in configs)
    for module in sorted(factors[0].keys() | factors[1].keys()):
        pair = [
            found.get(module) or zero_factors(factors[1 - i][module], ranks[i])
            for i, found in enumerate(factors)
        ]
        tensors[f"{module}.lora_A.weight"] = torch.cat([f.a for f in pair], dim=0).contiguous()
        tensors[f"{module}.lora_B.weight"] = torch.cat([f.b for f in pair], dim=1).contiguous()
        if has_bias:
            tensors[f"{module}.lora_B.bias"] = pair[0].bias + pair[1].bias
    destination.mkdir(parents=True, exist_ok=True)
    save_file(tensors, destination / "adapter_model.safetensors", metadata={"format": "pt"})
    joined = _joined_config(
        configs, sum(ranks), modules=sorted(factors[0].keys() | factors[1].keys())
    )
    write_json(destination / "adapter_config.json", joined)


def _joined_config(
    configs: Sequence[Mapping[str, Any]], rank: int, *, modules: Sequence[str]
) -> dict[str, Any]:
    where = ("target_modules", "layers_to_transform", "layers_pattern")
    is_same = all(_as_set(configs[0].get(key)) == _as_set(configs[1].get(key)) for key in where)
    # Where they differ, modules are named in full: names and layers apart would also mean pairs
    # of a name and a layer that neither adapter has.
    place = (
        {key: configs[0].get(key) for key in where}
        if is_same
        else {
            "target_modules": [name.removeprefix("base_model.model.") for name in modules],
            "layers_to_transform": None,
            "layers_pattern": None,
        }
    )
    scale = {"r": rank, "lora_alpha": rank, "use_rslora": False, "lora_dropout": 0.0}
    biases = {"lora_bias": any(bool(config.get("lora_bias")) for config in configs)}
    return {**configs[0], **scale, **biases, **place}


def _as_set(value: object) -> object:
    return frozenset(value) if isinstance(value, list) else value

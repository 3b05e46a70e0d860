"""Whether `vllm serve --enable-lora` takes an adapter folder, and how to ask it to.

vLLM reads a few fields of `adapter_config.json` (its `PEFTHelper`): r, lora_alpha, target_modules,
bias, modules_to_save, use_rslora and use_dora. What it does not read it would ignore in silence,
so an adapter that needs more has to be merged.
"""

import shlex
from pathlib import Path
from typing import Any

from spillover.errors import ModelError
from spillover.files import read_json
from spillover.models.adapters import adapter_base, is_adapter_folder
from spillover.models.embedded import embedded_folder

VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"What `--max-lora-rank` may be; the smallest that is enough is the fastest."

_MUST_BE_EMPTY = {
    "modules_to_save": "it serves no modules that were trained whole",
    "use_dora": "it has no DoRA",
    "lora_bias": "it has no biases, which steering vectors are",
    "rank_pattern": "it has one rank for all modules",
    "alpha_pattern": "it has one alpha for all modules",
}


def vllm_problems(folder: Path) -> list[str]:
    """Return why vLLM would not serve an adapter as it was trained; nothing where it would.

    Raises:
        ModelError: If the folder holds no adapter.
    """
    config = _config(folder)
    found = [
        f"{key} is {config[key]!r}, but {reason}"
        for key, reason in _MUST_BE_EMPTY.items()
        if config.get(key)
    ]
    missing = [key for key in ("r", "lora_alpha", "target_modules") if not config.get(key)]
    if missing:
        found.append(f"{', '.join(missing)} missing")
    elif int(config["r"]) > VLLM_RANKS[-1]:
        found.append(f"r is {config['r']}, but it takes ranks up to {VLLM_RANKS[-1]}")
    if config.get("bias", "none") != "none":
        found.append(f"bias is {config['bias']!r}, but it has no biases")
    return found


def vllm_command(folder: Path) -> str:
    """Return the command line that serves an adapter beside its base model.

    Raises:
        ModelError: If vLLM would not serve it as it was trained, or the folder holds no adapter.
    """
    problems = vllm_problems(folder)
    if problems:
        raise ModelError(
            f"{folder}: vLLM cannot serve this adapter: {'; '.join(problems)}; export it merged"
        )
    base = adapter_base(folder)
    served = str(embedded_folder()) if base == "embedded" else base
    rank = next(rank for rank in VLLM_RANKS if rank >= int(_config(folder)["r"]))
    return (
        f"vllm serve {shlex.quote(served)} --enable-lora --max-lora-rank {rank} "
        f"--lora-modules {shlex.quote(f'{folder.resolve().name}={folder.resolve()}')}"
    )


def _config(folder: Path) -> dict[str, Any]:
    if not is_adapter_folder(folder):
        raise ModelError(f"{folder}: no adapter_config.json; give a PEFT adapter folder")
    config: dict[str, Any] = read_json(folder / "adapter_config.json")
    return config

"""A loaded model's layers in four bits, for training an adapter on top (QLoRA, 2305.14314).

NormalFloat 4 with doubly quantised scales, by bitsandbytes. The adapter is then used on the
unquantised model, as everything that is measured is; that is the usual practice, and a departure
from what was trained that the evaluation sees.
"""

import importlib
import importlib.util
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from spillover.errors import ModelError
from spillover.files import fingerprint
from spillover.models.loading import LoadedModel


def quantised(loaded: LoadedModel, *, device: torch.device) -> LoadedModel:
    """Return the model on `device` with the linear maps of its layers in NF4.

    One map after another is quantised, so that the device never holds the whole model at its full
    size; load it on the CPU. The model object is used up. Embeddings, norms and the output
    projection stay as they are.

    Args:
        loaded: The model, adapters merged.
        device: Where it goes.

    Raises:
        ModelError: If bitsandbytes is not installed, or a linear map is not a `torch.nn.Linear`.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError("nf4 needs the package bitsandbytes; `pip install bitsandbytes`")
    layers = loaded.model.get_submodule(loaded.architecture.layers)
    for path, module in list(layers.named_modules()):
        if path.split(".")[-1] not in loaded.architecture.linear_modules:
            continue
        if not isinstance(module, nn.Linear):
            raise ModelError(f"{path}: a {type(module).__name__}; nf4 takes torch.nn.Linear only")
        parent, _, name = path.rpartition(".")
        setattr(layers.get_submodule(parent), name, _nf4(module, device))
    loaded.model.is_loaded_in_4bit = True  # PEFT chooses its LoRA layers by this.
    model = loaded.model.to(device)
    return replace(loaded, model=model, fingerprint=fingerprint([loaded.fingerprint, "nf4"]))


def _nf4(module: nn.Linear, device: torch.device) -> Any:
    bitsandbytes: Any = importlib.import_module("bitsandbytes")
    made = bitsandbytes.nn.Linear4bit(
        module.in_features,
        module.out_features,
        bias=module.bias is not None,
        compute_dtype=module.weight.dtype,
        compress_statistics=True,
        quant_type="nf4",
        device="meta",
    )
    made.weight = bitsandbytes.nn.Params4bit(
        module.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
    )
    if module.bias is not None:
        made.bias = nn.Parameter(module.bias.data, requires_grad=False)
    return made.to(device)  # This is when it quantises.

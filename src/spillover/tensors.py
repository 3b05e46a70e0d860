"""The names of tensor axes, once, and the few dtype and device words used everywhere.

batch      examples in one forward pass      seq        tokens, padding included
response   response tokens                   layer      decoder layers, counted from 0
d_model    width of the residual stream      vocab      logits
example    examples of a whole data set      prompt     prompts of one concept
"""

import os

import torch

from spillover.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def parse_dtype(name: str) -> torch.dtype:
    """Return the torch dtype called `name`.

    Raises:
        ModelError: If it is not one of float32, bfloat16, float16.
    """
    if name not in DTYPES:
        raise ModelError(f"dtype {name!r} is not known; choose one of {', '.join(DTYPES)}")
    return DTYPES[name]


def parse_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is CUDA where there is one, then MPS, then the CPU.

    Raises:
        ModelError: If torch does not know the name or the machine has no such device.
    """
    if name == "auto":
        return best_device()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(
            f"device {name!r} is not known; use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {name!r} was asked for, but torch sees no CUDA device; use cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"device {name!r} was asked for, but torch sees no MPS device; use cpu")
    return device


def best_device() -> torch.device:
    """Return CUDA where there is one, then MPS, then the CPU.

    Of several processes that a launcher started on one machine, each gets a GPU of its own.
    """
    if torch.cuda.is_available():
        rank = os.environ.get("LOCAL_RANK")
        return torch.device("cuda") if rank is None else torch.device("cuda", int(rank))
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")

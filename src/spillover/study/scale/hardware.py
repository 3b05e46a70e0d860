"""What a machine can compute, hold and move: found here, or told.

Rates of GPUs are those of their data sheets (dense bfloat16, no sparsity); of processors, measured.
"""

import time
from dataclasses import dataclass

from spillover.errors import ConfigError
from spillover.records import Record

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Hardware(Record):
    """Devices of one kind."""

    name: str
    n_devices: int
    memory_gib: float
    "Of each device."
    flops: float
    "Matrix operations in bfloat16, each device, a second."
    bandwidth: float
    "Bytes a second from memory, each device."


@dataclass(frozen=True)
class Rates:
    """What a data sheet says of one GPU."""

    memory_gib: float
    flops: float
    bandwidth: float


GPUS = {
    "H200": Rates(141, 989e12, 4.8e12),
    "H100": Rates(80, 989e12, 3.35e12),
    "A100": Rates(80, 312e12, 2.0e12),
    "L40S": Rates(48, 362e12, 0.86e12),
    "RTX 4090": Rates(24, 165e12, 1.0e12),
}
"NVIDIA's data sheets; the larger model where there are two."


def told_hardware(*, n_gpus: int, memory_gib: float | None, gpu: str = "H100") -> Hardware:
    """Return the hardware that a user describes.

    Args:
        n_gpus: How many, on one machine or several.
        memory_gib: Of each; None for what that GPU has.
        gpu: A key of `GPUS`, for the rates.

    Raises:
        ConfigError: If the GPU is not known, or a number is not positive.
    """
    if gpu not in GPUS:
        raise ConfigError(f"gpu {gpu!r} is not known; choose one of {', '.join(GPUS)}")
    rates = GPUS[gpu]
    memory = rates.memory_gib if memory_gib is None else memory_gib
    if n_gpus < 1 or memory <= 0:
        raise ConfigError(f"{n_gpus} GPUs of {memory} GiB; give at least one, with some memory")
    return Hardware(
        name=gpu,
        n_devices=n_gpus,
        memory_gib=memory,
        flops=rates.flops,
        bandwidth=rates.bandwidth,
    )


def found_hardware() -> Hardware:
    """Return this machine's GPUs, else its processor with rates measured in about a second."""
    import torch

    if torch.cuda.is_available():
        return _gpus(torch.cuda.get_device_properties(0), torch.cuda.device_count())
    from spillover.study.artifacts.manifest import describe_environment

    return Hardware(
        name="processor",
        n_devices=1,
        memory_gib=describe_environment()["memory_gib"],
        flops=matrix_rate(),
        bandwidth=memory_rate(),
    )


def _gpus(properties: object, n_devices: int) -> Hardware:
    name = str(getattr(properties, "name", ""))
    known = next((rates for key, rates in GPUS.items() if key in name), GPUS["A100"])
    return Hardware(
        name=name,
        n_devices=n_devices,
        memory_gib=float(getattr(properties, "total_memory", 0)) / GIB,
        flops=known.flops,
        bandwidth=known.bandwidth,
    )


def matrix_rate(*, seconds: float = 0.3) -> float:
    """Measure operations a second of a bfloat16 matrix product as wide as a small model's."""
    import torch

    left, right = torch.ones(512, 576, dtype=torch.bfloat16), torch.ones(576, 1536).bfloat16()
    return _rate(lambda: left @ right, work=2 * 512 * 576 * 1536, seconds=seconds)


def memory_rate(*, seconds: float = 0.3) -> float:
    """Measure bytes a second read from memory, by a sum over more than a cache holds."""
    import torch

    numbers = torch.ones(1 << 26, dtype=torch.float32)
    return _rate(numbers.sum, work=numbers.nbytes, seconds=seconds)


def _rate(work_once: object, *, work: float, seconds: float) -> float:
    assert callable(work_once)
    work_once()  # The first one also warms up.
    begin, rounds = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        work_once()
        rounds += 1
    return work * rounds / (time.perf_counter() - begin)

"""Ways to lay a study's trainings on some devices, with what each needs and whether it fits."""

from collections.abc import Iterator
from dataclasses import dataclass

from spillover.records import Record
from spillover.study.config import StudyConfig
from spillover.study.scale.estimates import Placement, training_bytes, training_seconds
from spillover.study.scale.hardware import GIB, Hardware
from spillover.study.scale.model_shapes import ModelShape
from spillover.study.scale.training_works import TrainingWork, training_works

ROOM = 0.92
"Share of a device's memory that can be counted on; the rest is the driver's and fragments."


@dataclass(frozen=True, kw_only=True)
class Choice(Record):
    """One way to place all trainings of a study."""

    name: str
    n_devices: int
    "That one training can use: they must divide the forget examples of a step."
    gib: float
    "Of each device, in the largest training."
    seconds: float
    "Of all trainings, one after another."
    fits: bool


def training_choices(config: StudyConfig, shape: ModelShape, hardware: Hardware) -> list[Choice]:
    """Return every placement, those with the least machinery first; none without a training.

    Args:
        config: The study.
        shape: Its model's.
        hardware: The devices.
    """
    works = training_works(config, shape)
    if not works:
        return []
    usable = usable_devices([work for _, work, _ in works], hardware.n_devices)
    is_lora = all(work.rank is not None for _, work, _ in works)
    return [
        Choice(
            name=name,
            n_devices=placement.n_shards * placement.n_replicas,
            gib=(peak := max(training_bytes(shape, w, placement) for _, w, _ in works) / GIB),
            seconds=sum(
                count * training_seconds(shape, work, placement, hardware)
                for _, work, count in works
            ),
            fits=peak <= ROOM * hardware.memory_gib,
        )
        for name, placement in _placements(usable, config.model.dtype, is_lora=is_lora)
    ]


def usable_devices(works: list[TrainingWork], n_devices: int) -> int:
    """Return how many devices can share a step of every one of some trainings.

    Each takes equally many examples, so that the ratio stays exact on all of them.
    """
    fitting = (
        n
        for n in range(1, n_devices + 1)
        if all(work.units % (n * work.accumulation) == 0 for work in works)
    )
    return max(fitting, default=1)


def _placements(n: int, dtype: str, *, is_lora: bool) -> Iterator[tuple[str, Placement]]:
    for checkpointed in (False, True):
        suffix = ", checkpoint_activations" if checkpointed else ""
        one = "ddp" if n > 1 else "one device"
        yield (
            one + suffix,
            Placement(dtype=dtype, n_replicas=n, checkpoint_activations=checkpointed),
        )
        if n > 1:
            yield (
                f"fsdp2 or zero3{suffix}",
                Placement(dtype=dtype, n_shards=n, checkpoint_activations=checkpointed),
            )
        if is_lora:
            yield (
                f"{one}, nf4{suffix}",
                Placement(dtype="nf4", n_replicas=n, checkpoint_activations=checkpointed),
            )

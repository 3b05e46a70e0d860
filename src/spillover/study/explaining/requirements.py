"""What models and data have to be for an explanation, checked before anything is concluded."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from spillover.errors import DataError, ModelError

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel
    from spillover.study.explaining.analyses import Case, Reading

LEAST = 4
"Half make a direction and half are measured on it, and an interval needs two."


def require_enough(case: "Case", readings: "Iterable[Reading]") -> None:
    """Refuse sets of responses, or concepts, that are too small for any interval.

    Args:
        case: Before any model is loaded.
        readings: What is to be read; sets and prompts that none of them reads may be of any size.

    Raises:
        DataError: If one that is read is too small.
    """
    kinds = {reading.is_of_prompts for reading in readings}
    if False in kinds:
        for name, rows in case.tokens.items():
            if len(rows) < LEAST:
                dropped = case.n_too_long[name]
                long = f", without {dropped} whose prompts are too long" if dropped else ""
                raise DataError(
                    f"{name}: {len(rows)} responses{long}; give at least {LEAST} of each set, as "
                    "half of them may make a direction that the others are measured on"
                )
    if True in kinds:
        for name, prompts in case.prompts.items():
            if len(prompts) < LEAST:
                raise DataError(
                    f"{name}: {len(prompts)} prompts; give at least {LEAST} of each concept and "
                    "as many benign ones, as half of them make its vector and half are measured on"
                )


def require_same_shape(
    loaded: "LoadedModel", shapes: dict[str, tuple[int, int]], role: str
) -> None:
    """Refuse a model whose states cannot be compared with the others', and note its shape.

    Raises:
        ModelError: If its layers or its width differ from those of a model loaded before.
    """
    shapes[role] = loaded.architecture.n_layers, loaded.architecture.d_model
    if len(set(shapes.values())) > 1:
        written = ", ".join(f"{name} has {n} of {width}" for name, (n, width) in shapes.items())
        raise ModelError(
            f"{role} model {loaded.source}: layers differ in number or width ({written}); explain "
            "models that were tuned from one another"
        )

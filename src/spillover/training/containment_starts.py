"""What penalties need of a trainer before it is made: the frozen start, and where to go on.

Both are callbacks beside those of the method itself, and come before them.
"""

from contextlib import AbstractContextManager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spillover.training.containment_penalties import RetainBatches
from spillover.training.references import FrozenModel, adapter_off_model


class FrozenStart(TrainerCallback):
    """The model as training found it: a callback that is told the model, and a `FrozenModel` of it.

    For penalties on a model that gets its adapter only when training begins. It can be opened in
    steps, not before.
    """

    def __init__(self) -> None:
        self._opened: FrozenModel | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Keep the model.

        Raises:
            ModelError: If it has no adapter to switch off.
        """
        self._opened = adapter_off_model(kwargs["model"])

    def __call__(self) -> AbstractContextManager[Any]:
        """Open the model with its adapter off, in evaluation mode and without gradients."""
        assert self._opened is not None
        return self._opened()


class ResumedBatches(TrainerCallback):
    """Lets a training that goes on from a checkpoint see the batches that it would have seen.

    Args:
        batches: Fresh ones, of which each step uses one.
    """

    def __init__(self, batches: RetainBatches) -> None:
        self._batches = batches

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave out what the steps before the checkpoint have used, one batch a step."""
        self._batches.skip(state.global_step)

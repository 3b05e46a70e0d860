"""Containment that composes with any objective: callbacks of the Hugging Face and TRL trainers.

PenaltyCallback    adds the gradient of a penalty to the task's, before clipping
SafetyGradient     takes out of the task's gradient what opposes a penalty's
TrainingHook       edits activations while training, and only then
GradientCallback   changes gradients before each optimizer step
WeightsCallback    changes weights after each optimizer step

They see one step, not the losses or data of the trainer. Under DeepSpeed and FSDP gradients and
weights are in pieces, and they say so rather than act on a piece.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spillover.errors import ConfigError, TrainingError
from spillover.models.architecture import Architecture
from spillover.models.hooks import Edit, Site, edit_activations
from spillover.training.containment_gradients import capped, inner_product, without_conflict
from spillover.training.containment_penalties import Penalty


def refuse_sharded(args: TrainingArguments, *, what: str) -> None:
    """Refuse a training whose weights and gradients are in pieces on several processes.

    Raises:
        ConfigError: Under DeepSpeed or FSDP.
    """
    if args.deepspeed or args.fsdp:
        kind = "DeepSpeed" if args.deepspeed else "FSDP"
        raise ConfigError(
            f"{what} cannot work under {kind}, where no process holds whole gradients or weights; "
            "train with data parallelism, or leave it out (for the guard: on_alarm='warn' or "
            "'stop')"
        )


def as_trained(args: TrainingArguments) -> torch.autocast:
    """Return a context in which a forward pass has the precision of the training's own."""
    return torch.autocast(args.device.type, dtype=torch.bfloat16, enabled=args.bf16)


class PenaltyCallback(TrainerCallback):
    """Adds a penalty to whatever a trainer minimises.

        loss = task + weight * penalty

    Its gradient is put in place before the task's first backward pass of a step, so that clipping
    and accumulation treat the sum. What the trainer logs as loss is still the task's own.

    Args:
        penalty: From `containment_penalties`.
        weight: Against the task's loss, as the trainer averages that.

    Raises:
        ConfigError: Under float16, whose gradients are scaled, DeepSpeed or FSDP.
        TrainingError: If the penalty is not finite.
    """

    def __init__(self, penalty: Penalty, *, weight: float = 1.0) -> None:
        self._penalty = penalty
        self._weight = weight
        self.values: list[float] = []
        "The penalty at each step, without its weight."

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that gradients are whole and not scaled."""
        refuse_sharded(args, what="a containment penalty")
        if args.fp16:
            raise ConfigError(
                "a containment penalty cannot work with fp16, whose gradients are scaled; use bf16"
            )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the penalty's gradient in place."""
        with as_trained(args):
            value = self._penalty(kwargs["model"])
        if not torch.isfinite(value):
            raise TrainingError(
                f"the containment penalty is {value.item()} at step {state.global_step + 1}; lower "
                "learning_rate or the penalty's weight"
            )
        (self._weight * value).backward()  # type: ignore[no-untyped-call]
        self.values.append(value.item())


@dataclass(frozen=True)
class GradientConflict:
    """What a safety gradient and the task's had to do with each other at one step."""

    step: int
    cosine: float
    "Before; negative where the task worked against safety."


class SafetyGradient(TrainerCallback):
    """Keeps the task's gradient from working against a penalty.

    SafeGrad, https://arxiv.org/abs/2508.07172:

        g' = g - min(0, g . s) / |s|^2 s + weight * s

    with s the penalty's gradient. Departs in two points: s is shortened to the length of g, which
    has been clipped already, before it is added; and it comes after clipping.

    Args:
        penalty: From `containment_penalties`; the paper's is KL to the aligned model.
        weight: Of the penalty's own gradient; 0 only takes conflicts out.

    Raises:
        ConfigError: Under DeepSpeed or FSDP.
    """

    def __init__(self, penalty: Penalty, *, weight: float = 1.0) -> None:
        self._penalty = penalty
        self._weight = weight
        self.conflicts: list[GradientConflict] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that gradients are whole."""
        refuse_sharded(args, what="a safety gradient")

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Replace the gradients of this step."""
        model = kwargs["model"]
        trained = [p for p in model.parameters() if p.requires_grad and p.grad is not None]
        task = [p.grad for p in trained if p.grad is not None]
        with as_trained(args):
            value = self._penalty(model)
        safety = penalty_gradient(value, trained)
        product, length = inner_product(task, safety), inner_product(task, task).sqrt()
        scale = (length * inner_product(safety, safety).sqrt()).clamp(min=1e-30)
        self.conflicts.append(GradientConflict(state.global_step + 1, float(product / scale)))
        kept = without_conflict(task, safety)
        added = capped(safety, length=length)
        for parameter, g, s in zip(trained, kept, added, strict=True):
            parameter.grad = g + (self._weight * s).to(g.dtype)


def penalty_gradient(value: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return a penalty's gradient, zeros where it does not depend on a parameter.

    The parameters' own `grad` is left alone.
    """
    if not value.requires_grad:
        raise TrainingError(
            "the containment penalty depends on no trained weight, so that it contains nothing; "
            "train weights that it looks at"
        )
    found = torch.autograd.grad(value, list(parameters), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


@dataclass(frozen=True)
class ActivationEdit:
    """An edit at one place of the model."""

    layer: int
    edit: Edit
    site: Site = "resid_post"


class TrainingHook(TrainerCallback):
    """Edits activations in training mode only, from the first step to the last.

    In evaluation mode (monitors, the guard, a frozen reference, evaluation) the model is itself;
    after training the hooks are gone.

    Args:
        edits: From `containment_activations`.
        architecture: The model's.
    """

    def __init__(self, edits: Sequence[ActivationEdit], architecture: Architecture) -> None:
        self._edits = list(edits)
        self._architecture = architecture
        self._stack = ExitStack()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the hooks in place."""
        self._stack.close()
        self._stack = self.applied(kwargs["model"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take them away."""
        self._stack.close()

    def applied(self, model: Any) -> ExitStack:
        """Return an open stack of the hooks; closing it removes them."""
        stack = ExitStack()
        for asked in self._edits:
            stack.enter_context(
                edit_activations(
                    model,
                    self._architecture,
                    site=asked.site,
                    layer=asked.layer,
                    edit=_while_training(model, asked.edit),
                )
            )
        return stack


def _while_training(model: Any, edit: Edit) -> Edit:
    return lambda activations: edit(activations) if model.training else activations


StartChange = Callable[[Any], Callable[[], None]]
"Takes the model as training begins; returns what is to be done to it at each step."


class _ChangeCallback(TrainerCallback):
    """Makes a change at each step, of a kind that the classes below choose a moment for.

    Args:
        start: Such as `containment_subspaces` gives.
    """

    what = ""
    "What the user is told cannot be done where weights are sharded."

    def __init__(self, start: StartChange) -> None:
        self._start = start
        self._change: Callable[[], None] = lambda: None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the model before the first step."""
        refuse_sharded(args, what=self.what)
        self._change = self._start(kwargs["model"])


class GradientCallback(_ChangeCallback):
    """Changes gradients before each optimizer step, after clipping."""

    what = "a gradient projection"

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Change the gradients."""
        self._change()


class WeightsCallback(_ChangeCallback):
    """Changes weights after each optimizer step; what it ensures holds for any optimizer."""

    what = "a subspace lock"

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Change the weights."""
        self._change()

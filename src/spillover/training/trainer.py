"""A `transformers.Trainer` over schedules of forget and retain examples.

What it adds to the Trainer: batches of forget and retain examples in the schedule's order, their
log-probabilities, and the objective. Sharding, precision, resuming, trackers and other people's
callbacks are the Trainer's. `ObjectiveSteps` adds it to any trainer that is made like that one,
such as TRL's. It does not know how the examples were made or what becomes of the model.

Several processes: the Trainer deals whole batches out in turn, so a step has the same units
however many processes share it, each of them equally many, and the mean of the processes' mean
losses is the mean over the step.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from accelerate.utils import DistributedType
from torch import Tensor
from transformers import Trainer

from spillover.errors import TrainingError
from spillover.memory import release_freed_memory
from spillover.models.architecture import Architecture
from spillover.models.batches import batches_by_length, pad_batch
from spillover.models.chat import Chat, ChatTokens
from spillover.records import Example
from spillover.training.batching import TrainingUnit, chosen_id
from spillover.training.callbacks import kept_checkpoint
from spillover.training.forward import ExampleGroup, Sources, responses_by_role
from spillover.training.objectives import Objective
from spillover.training.passes import as_many_groups
from spillover.training.references import FrozenModel, Reference

GROUP_TOKENS = {"cpu": 640, "cuda": 16384}
"Padded tokens in one forward pass: enough to fill the cores, few enough to pad and hold little."


class UnitDataset(torch.utils.data.Dataset[dict[str, int]]):
    """The places of a schedule as a torch data set; `UnitCollator` has what stands there.

    Trainers that want a `datasets.Dataset` are given one with the same column.
    """

    def __init__(self, n_units: int) -> None:
        self._n_units = n_units

    def __len__(self) -> int:
        """Return the number of units."""
        return self._n_units

    def __getitem__(self, index: int) -> dict[str, int]:
        """Return the place `index`."""
        return {"unit": index}


class _Row(NamedTuple):
    """One sequence that goes through the model."""

    id: str
    role: Literal["forget", "chosen", "retain"]
    tokens: ChatTokens


@dataclass(frozen=True)
class UnitCollator:
    """Turns places of a schedule into length-sorted token batches."""

    schedule: Sequence[TrainingUnit]
    chat: Chat
    pad_id: int
    max_tokens: int

    def __call__(self, places: Sequence[dict[str, int]]) -> dict[str, list[ExampleGroup]]:
        """Return the groups of one batch of units under the key `groups`."""
        units = [self.schedule[place["unit"]] for place in places]
        forget = [self._row(e, "forget") for unit in units for e in unit.forget]
        chosen = [self._row(e, "chosen") for unit in units for e in unit.chosen]
        retain = [(self._row(e, "retain"),) for unit in units for e in unit.retain]
        # The two responses of a pair are compared, so they stay in one group.
        pairs = list(zip(forget, chosen, strict=True)) if chosen else []
        singles = retain if chosen else [*((row,) for row in forget), *retain]
        sizes = {"n_forget": len(forget), "n_retain": len(retain)}
        groups = [
            self._group(rows, **sizes) for rows in [*self._split(pairs), *self._split(singles)]
        ]
        return {"groups": groups}

    def _row(self, example: Example, role: Literal["forget", "chosen", "retain"]) -> _Row:
        identity = chosen_id(example.id) if role == "chosen" else example.id
        return _Row(identity, role, self.chat.example_ids(example))

    def _split(self, bundles: Sequence[tuple[_Row, ...]]) -> Iterator[list[_Row]]:
        """Yield groups of bundles of similar length: all first rows, then all second ones."""
        widths = [len(b) * max(len(row.tokens.input_ids) for row in b) for b in bundles]
        for indices in batches_by_length(
            widths, batch_size=len(bundles), max_tokens=self.max_tokens
        ):
            yield [
                row for place in zip(*(bundles[i] for i in indices), strict=True) for row in place
            ]

    def _group(self, rows: Sequence[_Row], *, n_forget: int, n_retain: int) -> ExampleGroup:
        batch = pad_batch([row.tokens for row in rows], pad_id=self.pad_id, padding_side="right")
        return ExampleGroup(
            ids=tuple(row.id for row in rows),
            is_forget=tuple(row.role == "forget" for row in rows),
            is_chosen=tuple(row.role == "chosen" for row in rows),
            batch=batch,
            n_forget=n_forget,
            n_retain=n_retain,
        )


class ObjectiveSteps:
    """Steps on a schedule with an objective and, where it needs one, a named reference.

    To be put before a trainer: `class Ours(ObjectiveSteps, SomeTrainer)`.

    Args:
        objective: From `make_objective`.
        reference: From `training.references`; None for objectives without a forget set.
        units: From `forget_retain_schedule`.
        chat: The model's chat format.
        pad_id: Written at padding.
        group_tokens: Padded tokens in one forward pass; None chooses by the device. Objectives on
            distributions hold three times their logits, so give fewer where memory is short.
        frozen: For objectives that look into the frozen model: `adapter_off_model` or
            `second_model` of `training.references`.
        architecture: The model's, for objectives on activations.
        **options: The trainer's own: model, args, callbacks and so on.

    Raises:
        ValueError: If the objective needs a reference or more of it and there is none.
    """

    args: Any
    accelerator: Any
    state: Any

    def __init__(
        self,
        *,
        objective: Objective,
        reference: Reference | None,
        units: Sequence[TrainingUnit],
        chat: Chat,
        pad_id: int,
        group_tokens: int | None = None,
        frozen: FrozenModel | None = None,
        architecture: Architecture | None = None,
        **options: Any,
    ) -> None:
        self.sources = Sources(objective, reference, frozen, architecture)
        device_type = options["args"].device.type
        max_tokens = group_tokens or GROUP_TOKENS.get(device_type, GROUP_TOKENS["cuda"])
        self.n_units = len(units)
        data = {
            "train_dataset": UnitDataset(len(units)),
            "data_collator": UnitCollator(tuple(units), chat, pad_id, max_tokens),
        }
        super().__init__(**{**data, **options})
        self._part_sums: dict[str, float] = {}
        self._n_summed = 0
        # The losses are means over examples: the Trainer must divide by the accumulation steps.
        self.model_accepts_loss_kwargs = False

    def training_step(
        self, model: Any, inputs: dict[str, list[ExampleGroup]], num_items_in_batch: Any = None
    ) -> Tensor:
        """Run forward and backward group by group, so that one group's activations are held.

        Raises:
            TrainingError: If the loss is not finite.
        """
        model.train()
        self._n_summed += 1
        accumulation = self.args.gradient_accumulation_steps
        total = torch.zeros((), device=self.args.device)
        passes = self._passes(inputs["groups"])
        for index, groups in enumerate(passes):
            last = index == len(passes) - 1
            with nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():  # type: ignore[attr-defined]
                    loss = self.compute_loss(model, {"groups": groups})
                self.accelerator.backward(loss / accumulation, **self._backward_options())
            total += loss.detach()
        if not torch.isfinite(total):
            raise TrainingError(
                f"the loss is {total.item()} at step {self.state.global_step + 1}; "
                f"{kept_checkpoint(self.args.output_dir)}. Lower learning_rate or set max_grad_norm"
            )
        release_freed_memory()
        mean: Tensor = total / accumulation
        return mean

    def _passes(self, groups: list[ExampleGroup]) -> list[list[ExampleGroup]]:
        """Return the groups of each backward pass, equally many in all processes."""
        if self._uses_deepspeed():
            return [groups]  # Its backward pass is also the step, so there can be only one.
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([len(groups)], device=self.args.device)
            groups = as_many_groups(groups, int(self.accelerator.gather(mine).max()))
        return [[group] for group in groups]

    def _uses_deepspeed(self) -> bool:
        return bool(self.accelerator.distributed_type == DistributedType.DEEPSPEED)

    def _backward_options(self) -> dict[str, bool]:
        # DeepSpeed would divide by the accumulation steps once more.
        return {"scale_wrt_gas": False} if self._uses_deepspeed() else {}

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, list[ExampleGroup]],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """Return the share of the groups in the objective's loss on their batch of units."""
        loss = torch.zeros((), device=self.args.device)
        objective = self.sources.objective
        for group in inputs["groups"]:
            found = responses_by_role(model, group.to(self.args.device), sources=self.sources)
            if objective.forget is not None:
                part = objective.forget(found.forget).sum() / max(1, group.n_forget)
                loss = loss + objective.forget_weight * part
                self._add_part("forget_loss", part)
            if objective.retain is not None:
                part = objective.retain(found.retain).sum() / max(1, group.n_retain)
                loss = loss + objective.retain_weight * part
                self._add_part("retain_loss", part)
        return loss

    def _add_part(self, name: str, part: Tensor) -> None:
        self._part_sums[name] = self._part_sums.get(name, 0.0) + part.item()

    def _get_train_sampler(self, *_args: Any) -> "Sequential":
        return Sequential(self.n_units)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log the objective's parts beside the loss, each a mean since the last time."""
        if "loss" in logs and self._part_sums:
            means = [total / self._n_summed for total in self._part_sums.values()]
            if self.accelerator.num_processes > 1:
                mine = torch.tensor(means, device=self.args.device)
                means = self.accelerator.reduce(mine, reduction="mean").tolist()
            logs = {**logs, **dict(zip(self._part_sums, means, strict=True))}
            self._part_sums, self._n_summed = {}, 0
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return 0: the Trainer's estimate needs a tensor of ids, and warns when there is none."""
        return 0


class SpilloverTrainer(ObjectiveSteps, Trainer):  # type: ignore[misc]
    """`transformers.Trainer` with `ObjectiveSteps`."""


class Sequential(torch.utils.data.Sampler[int]):
    """The schedule's own order."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __iter__(self) -> Iterator[int]:
        """Yield 0, 1, 2, ..."""
        return iter(range(self._length))

    def __len__(self) -> int:
        """Return the number of units."""
        return self._length

"""What the guard does about an alarm, exactly.

warn        Training goes on; every alarm warns.
stop        Training stops after this step; the weights stay as they are.
rollback    Trained weights and optimizer state are put back to the last good state, and training
            stops. What is saved afterwards is that state; the step count is still the alarm's.
contain     Put back in the same way, and training goes on with the next data, at the next step and
            learning rate, while `SafetyGradient` holds the first response token of other prompts
            to what the model says in that state. A second alarm is answered by a rollback.

The last good state is the last one that was measured without an alarm (`memory`), or the last
checkpoint that was written no later than that (`checkpoint`). The start counts as good. See
`guard_snapshots` for what is put back and what is not.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from spillover.data.concepts import CONCEPTS
from spillover.data.prompt_sets import bundled_prompts
from spillover.errors import ConfigError, TrainingError
from spillover.models.chat import Chat
from spillover.records import Prompt, Record
from spillover.seeding import numpy_generator
from spillover.training.callbacks import checkpoint_folder
from spillover.training.containment_callbacks import SafetyGradient, refuse_sharded
from spillover.training.containment_penalties import first_token_penalty, first_token_reference
from spillover.training.guard_probes import spread
from spillover.training.guard_snapshots import (
    TrainingSnapshot,
    read_checkpoint,
    restore_snapshot,
    take_snapshot,
)

ON_ALARM = ("warn", "stop", "rollback", "contain")
SNAPSHOT_SOURCES = ("memory", "checkpoint")


class AlignmentAlarm(UserWarning):
    """A signal rose above its threshold."""


@dataclass(frozen=True, kw_only=True)
class Alarm(Record):
    """Signals above their thresholds at one step, and what was done."""

    step: int
    exceeded: Mapping[str, float]
    "Signal -> value."
    action: str


@dataclass(frozen=True, kw_only=True)
class ContainSettings:
    """How `contain` goes on after an alarm."""

    prompts: tuple[Prompt, ...] | None = None
    "Whose first response token is held; None for bundled ones that are no probes."
    weight: float = 1.0
    "Of the safety gradient itself, see `SafetyGradient`; 0 only takes conflicts out."
    batch_size: int = 8
    "Prompts a step."


def contain_prompts(*, per_concept: int = 4) -> tuple[Prompt, ...]:
    """Return bundled prompts of all concepts from the split that the probes are not from."""
    return tuple(
        prompt
        for concept in CONCEPTS
        for prompt in spread(bundled_prompts(concept, split="train"), per_concept)
    )


class GuardActions:
    """Answers alarms; holds the last good state where the answer needs it.

    Args:
        on_alarm: One of `ON_ALARM`.
        source: One of `SNAPSHOT_SOURCES`.
        contain: For `contain` only.

    Raises:
        ConfigError: If a setting is not one of its values.
    """

    def __init__(self, on_alarm: str, source: str, contain: ContainSettings) -> None:
        for name, value, known in (
            ("on_alarm", on_alarm, ON_ALARM),
            ("snapshots", source, SNAPSHOT_SOURCES),
        ):
            if value not in known:
                raise ConfigError(
                    f"guard: {name} {value!r} is not known; choose one of {', '.join(known)}"
                )
        self._on_alarm = on_alarm
        self._source = source
        self._contain = contain
        self._restores = on_alarm in ("rollback", "contain")
        self._saved: list[int] = []
        self._good_step = 0
        self._snapshot: TrainingSnapshot | None = None
        self.safety: SafetyGradient | None = None
        "In place once training is contained."

    def check(self, args: TrainingArguments) -> None:
        """Refuse what cannot work in this training, before it starts.

        Raises:
            ConfigError: If weights are in pieces, no checkpoint will be there to go back to, or
                gradients are scaled.
        """
        if not self._restores:
            return
        what = f"guard: on_alarm={self._on_alarm!r}"
        refuse_sharded(args, what=what)
        if self._source == "checkpoint" and (args.save_strategy == "no" or args.save_only_model):
            raise ConfigError(
                f"{what} with snapshots='checkpoint' has no checkpoint with an optimizer to go "
                "back to: save_strategy is 'no' or save_only_model is set; save checkpoints, or "
                "use snapshots='memory'"
            )
        if self._on_alarm == "contain" and args.fp16 and not args.max_grad_norm:
            raise ConfigError(
                f"{what} with fp16 needs max_grad_norm above 0: without clipping the gradients are "
                "still scaled when they are changed; set it, or use bf16"
            )

    def start(self, model: Any, optimizer: Any, *, step: int) -> None:
        """Take the state before the first step as good."""
        self.safety = None
        self._saved = [step] if step else []
        self.good(model, optimizer, step=step)

    def saved(self, step: int) -> None:
        """Note that the trainer wrote a checkpoint."""
        self._saved.append(step)

    def good(self, model: Any, optimizer: Any, *, step: int) -> None:
        """Note a measurement without an alarm."""
        self._good_step = step
        if self._restores and self._source == "memory":
            self._snapshot = take_snapshot(model, optimizer, step=step)

    def answer(
        self,
        exceeded: Mapping[str, float],
        *,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any,
        optimizer: Any,
        chat: Chat,
    ) -> Alarm:
        """Do what is to be done about an alarm, and warn.

        Raises:
            TrainingError: If the last good state is to be put back and there is none.
        """
        action = "warned"
        if self._on_alarm == "stop":
            control.should_training_stop = True
            action = "stopped"
        elif self._restores:
            assert args.output_dir is not None
            good = self._last_good(model, Path(args.output_dir), step=state.global_step)
            restore_snapshot(good, model, optimizer)
            if self._on_alarm == "contain" and self.safety is None:
                self.safety = self._safety(model, chat, seed=args.seed)
                action = f"contained from step {good.step}"
            else:
                control.should_training_stop = True
                action = f"rolled back to step {good.step} and stopped"
        alarm = Alarm(step=state.global_step, exceeded=dict(exceeded), action=action)
        warnings.warn(_message(alarm), AlignmentAlarm, stacklevel=2)
        return alarm

    def _last_good(self, model: Any, folder: Path, *, step: int) -> TrainingSnapshot:
        if self._source == "memory":
            assert self._snapshot is not None  # Taken at the start.
            return self._snapshot
        until = [saved for saved in self._saved if saved <= self._good_step]
        if not until:
            raise TrainingError(
                f"guard: alarm at step {step}, and no checkpoint was written up to step "
                f"{self._good_step}, the last good one, so that there is nothing to roll back to; "
                f"nothing was changed. Lower save_steps, or use snapshots='memory'"
            )
        return read_checkpoint(checkpoint_folder(folder, max(until)), model)

    def _safety(self, model: Any, chat: Chat, *, seed: int) -> SafetyGradient:
        asked = self._contain
        prompts = contain_prompts() if asked.prompts is None else asked.prompts
        ids = [chat.prompt_ids(prompt.prompt) for prompt in prompts]
        pad = chat.tokenizer.pad_token_id
        pad_id = chat.stop_id if pad is None else int(pad)
        penalty = first_token_penalty(
            ids,
            first_token_reference(model, ids, pad_id=pad_id),
            pad_id=pad_id,
            batch_size=asked.batch_size,
            rng=numpy_generator(seed, "guard"),
        )
        return SafetyGradient(penalty, weight=asked.weight)


def _message(alarm: Alarm) -> str:
    signals = ", ".join(f"{name} {value:.3g}" for name, value in alarm.exceeded.items())
    return f"alignment alarm at step {alarm.step}: {signals} above threshold; {alarm.action}"

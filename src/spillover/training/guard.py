"""Watches alignment while a model trains, in any Hugging Face or TRL trainer, and acts on alarms.

    AlignmentGuard(on_alarm="stop").attach(trainer)

At the start it asks the model a few dozen probes; every few steps it asks again and compares. It
only runs forward passes, so it needs no generation and no judge. It sees model and optimizer,
never the training data. What is measured is in `guard_answers` and `guard_readings`, when in
`guard_schedule`, what is an alarm in `guard_thresholds`, what is done then in `guard_actions`.
"""

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spillover.errors import ConfigError
from spillover.models.chat import Chat
from spillover.training.callbacks import MetricsFile
from spillover.training.guard_actions import (
    Alarm,
    ContainSettings,
    GuardActions,
)
from spillover.training.guard_answers import (
    GuardDirection,
    ProbeAnswers,
    ask_probes,
    load_answers,
    save_answers,
)
from spillover.training.guard_defaults import DEFAULT_THRESHOLDS
from spillover.training.guard_display import GuardTable, guard_table
from spillover.training.guard_probes import GuardProbes, bundled_probes, chat_of, probe_tokens
from spillover.training.guard_readings import GuardReading, Signals, guard_readings, guard_signals
from spillover.training.guard_schedule import Clock, MeasuringBudget, from_first
from spillover.training.guard_thresholds import GuardThresholds
from spillover.training.references import adapter_off_model, second_model

REFERENCE_FILE = "guard_reference.safetensors"
"In the trainer's output folder: what the model said at the start, for a training that is resumed."


class AlignmentGuard(TrainerCallback):
    """Measures alignment every few steps and warns, stops, rolls back or contains.

    Measured on probes against a reference: the first-token KL, the log-odds that a refusal
    begins, the margin between aligned and misaligned answers, and projections on `directions`.

    Args:
        on_alarm: `warn`, `stop`, `rollback` or `contain`, see `guard_actions`. An alarm always
            warns (`AlignmentAlarm`).
        probes: What to ask; None for the bundled ones. None of it should be trained on.
        thresholds: From `fit_thresholds`; the default's `setting` says what it was measured on.
        every: Optimizer steps between measurements; None measures as often as `max_overhead`
            allows. The first and the last step are measured in any case.
        max_overhead: Time for measuring as a share of the training's own time.
        reference: `start` (the model as training begins), `adapter_off` (PEFT), or a model.
        directions: What to project on.
        snapshots: Where the last good state comes from: `memory` (copied to the CPU at each good
            measurement) or `checkpoint` (the trainer's own).
        contain: How `on_alarm="contain"` goes on.
        chat: The model's chat format; None makes it from the trainer's tokenizer.
        metrics_file: Where rows go; None for `metrics.jsonl` in the trainer's output folder.
        table: Show a table; None does on a terminal only.
        clock: For tests.

    Raises:
        ConfigError: If a setting is not one of its values.
    """

    def __init__(
        self,
        *,
        on_alarm: str = "warn",
        probes: GuardProbes | None = None,
        thresholds: GuardThresholds = DEFAULT_THRESHOLDS,
        every: int | None = None,
        max_overhead: float = 0.08,
        reference: Any = "start",
        directions: Sequence[GuardDirection] = (),
        snapshots: str = "memory",
        contain: ContainSettings | None = None,
        chat: Chat | None = None,
        metrics_file: Path | None = None,
        table: bool | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        _check(every, reference)
        self._probes = probes
        self._thresholds = thresholds
        self._every = every
        self._reference_source = reference
        self._directions = tuple(directions)
        self._given_chat = chat
        self._metrics_file = metrics_file
        self._shows_table = table
        self._actions = GuardActions(on_alarm, snapshots, contain or ContainSettings())
        self._budget = MeasuringBudget(max_overhead, clock=clock)
        self._trainer: Trainer | None = None
        self._table: GuardTable | None = None
        self.readings: list[GuardReading] = []
        "Everything measured, in order."
        self.alarms: list[Alarm] = []

    def attach(self, trainer: Trainer) -> "AlignmentGuard":
        """Add the guard to a trainer, whose trackers (`report_to`) then get its signals as well.

        Given as `callbacks=[AlignmentGuard()]` it does all but that: the Trainer hands callbacks
        no way to its log.
        """
        self._trainer = trainer
        trainer.add_callback(self)
        return self

    @property
    def signals(self) -> list[Signals]:
        """The signals of each measurement, in order: one run for `fit_thresholds`."""
        by_step: dict[int, list[GuardReading]] = {}
        for reading in self.readings:
            by_step.setdefault(reading.step, []).append(reading)
        return [guard_signals(own, directions=self._directions) for own in by_step.values()]

    @property
    def overhead(self) -> float:
        """Time spent on measuring over the training's own time, from the start to the last step."""
        return self._budget.overhead

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask the reference, and take the state of the training as good.

        Raises:
            TemplateError: If there is no chat template that gives a clean response span.
            ConfigError: If there is no tokenizer, or the answer to alarms cannot work here.
        """
        self._actions.check(args)
        self._warn_of_trackers(args)
        self._chat = self._given_chat or chat_of(kwargs["processing_class"], kwargs["model"])
        self._tokens = probe_tokens(self._probes or bundled_probes(), self._chat)
        folder = self._open_outputs(args, state)
        self._budget.start()
        with self._budget.spending(args.device):
            self._reference = self._reference_answers(kwargs["model"], folder, state)
            self._actions.start(kwargs["model"], kwargs["optimizer"], step=state.global_step)
            now = self._reference if self._is_start else self._ask(kwargs["model"])
        if state.global_step == 0:
            self._publish(self._read(now, args, step=0), state, control, alarm=None)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure if it is time; called at optimizer steps only, never amid accumulation."""
        if not self._is_time(args, state):
            return
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        alarm = None
        with self._budget.spending(args.device):
            signals = self._read(self._ask(model), args, step=state.global_step)
            exceeded = self._thresholds.exceeded(signals)
            if exceeded:
                alarm = self._actions.answer(
                    exceeded,
                    args=args,
                    state=state,
                    control=control,
                    model=model,
                    optimizer=optimizer,
                    chat=self._chat,
                )
                self.alarms.append(alarm)
            else:
                self._actions.good(model, optimizer, step=state.global_step)
        self._publish(signals, state, control, alarm=alarm)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Contain the gradient, once training is contained."""
        if self._actions.safety is not None:
            self._actions.safety.on_pre_optimizer_step(args, state, control, **kwargs)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note the checkpoint."""
        self._actions.saved(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the table as it is."""
        if self._table is not None:
            self._table.close()

    def _warn_of_trackers(self, args: TrainingArguments) -> None:
        trackers = [name for name in args.report_to or [] if name != "none"]
        if trackers and self._trainer is None:
            warnings.warn(
                f"guard: its signals do not reach {', '.join(trackers)}, as a callback cannot log; "
                "use AlignmentGuard(...).attach(trainer) instead of callbacks=[...]",
                stacklevel=2,
            )

    def _open_outputs(self, args: TrainingArguments, state: TrainerState) -> Path:
        assert args.output_dir is not None
        folder = Path(args.output_dir)
        self._writes = state.is_world_process_zero
        self._metrics = MetricsFile(self._metrics_file or folder / "metrics.jsonl")
        if self._writes:
            self._metrics.cut_after(state.global_step or -1)
            self._table = guard_table(args, self._thresholds.values, asked=self._shows_table)
        self.readings, self.alarms = [], []
        return folder

    @property
    def _is_start(self) -> bool:
        return isinstance(self._reference_source, str) and self._reference_source == "start"

    def _reference_answers(self, model: Any, folder: Path, state: TrainerState) -> ProbeAnswers:
        path, key = folder / REFERENCE_FILE, self._tokens.fingerprint
        if self._is_start and state.global_step > 0:  # A resumed training did not start here.
            return load_answers(path, fingerprint=key)
        if self._is_start:
            answers = self._ask(model)
            if self._writes:
                save_answers(answers, path, fingerprint=key)
            return answers
        asked = self._reference_source
        frozen = adapter_off_model(model) if isinstance(asked, str) else second_model(asked)
        with frozen() as untouched:
            return self._ask(untouched)

    def _ask(self, model: Any) -> ProbeAnswers:
        return ask_probes(model, self._tokens, directions=self._directions)

    def _is_time(self, args: TrainingArguments, state: TrainerState) -> bool:
        if state.global_step >= state.max_steps:
            return True
        if self._every is not None:
            return state.global_step % self._every == 0
        return from_first([float(self._budget.allows())], args.device)[0] > 0

    def _read(self, now: ProbeAnswers, args: TrainingArguments, *, step: int) -> Signals:
        readings = guard_readings(
            self._reference, now, tokens=self._tokens, directions=self._directions, step=step
        )
        self.readings += readings
        signals = guard_signals(readings, directions=self._directions)
        # Rounding may differ between processes; what is done must not.
        return dict(zip(signals, from_first(list(signals.values()), args.device), strict=True))

    def _publish(
        self, signals: Signals, state: TrainerState, control: TrainerControl, *, alarm: Alarm | None
    ) -> None:
        step = state.global_step
        if self._writes:
            for reading in self.readings:
                if reading.step == step:
                    self._metrics.append({"kind": "guard", **reading.to_dict()})
            if alarm is not None:
                self._metrics.append({"kind": "alarm", **alarm.to_dict()})
        if self._table is not None:
            self._table.add(step, signals, alarm=None if alarm is None else alarm.action)
        if self._trainer is not None:
            logs = {f"guard/{name}": value for name, value in signals.items()}
            _log(self._trainer, control, {**logs, "guard/alarm": float(alarm is not None)})


def _check(every: int | None, reference: Any) -> None:
    if every is not None and every < 1:
        raise ConfigError(f"guard: every is {every}; give 1 or more, or None")
    if isinstance(reference, str) and reference not in ("start", "adapter_off"):
        raise ConfigError(
            f"guard: reference {reference!r} is not known; give 'start', 'adapter_off' or a model"
        )


def _log(trainer: Trainer, control: TrainerControl, values: dict[str, float]) -> None:
    """Send values to all trackers without disturbing the trainer's own log of this step.

    The base class's `log`, as TRL's would also send and clear what it has gathered so far.
    """
    should_log = control.should_log
    Trainer.log(trainer, values)
    control.should_log = should_log

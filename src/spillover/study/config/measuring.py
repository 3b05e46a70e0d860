"""The sections of a study file on measuring: what is asked of models, and along their training."""

from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from spillover.data.suites.catalogue import SUITES
from spillover.data.suites.triggers import TRIGGERABLE
from spillover.errors import ConfigError
from spillover.evaluation.checkpoint_choice import CheckpointRule
from spillover.judges import JUDGES, parse_spec
from spillover.study.config.section import Section


def _checked_judge(spec: str | dict[str, Any]) -> str | dict[str, Any]:
    try:
        kind = parse_spec(spec).kind
    except ConfigError as error:
        raise ValueError(str(error)) from error
    if kind not in JUDGES:
        raise ValueError(f"{kind!r} is not known; choose one of {', '.join(JUDGES)}")
    return spec


class EvaluateSection(Section):
    """How every model is measured."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"suites", "suite_limit", "n_samples", "sample_tokens", "grader", "leaks", "trigger"}
    )

    max_new_tokens: int = Field(default=24, ge=1)
    batch_size: int = Field(default=64, ge=1)
    judge: str | dict[str, Any] = "phrases"
    "A name, a line such as `llm:refusal@embedded`, or a mapping with `kind`; see docs/judges.md."
    deflection_is_refusal: bool = True
    capability: str | None = "bundled"
    "`bundled`, a JSONL of multiple-choice questions, or null."
    ema_threshold: float = Field(default=0.15, gt=0, lt=1)
    suites: tuple[str, ...] = ()
    """Suites besides, `NAME` or `NAME:FILE` (docs/suites.md): `value_pairs` needs no judge, those
    of open questions need `grader`."""
    suite_limit: int | None = Field(default=None, ge=1)
    "Most items of a suite."
    n_samples: int = Field(default=50, ge=1)
    "Answers to each open question."
    sample_tokens: int = Field(default=600, ge=1)
    "Of an answer to an open question, at most; 600 in the code of 2506.11613."
    grader: str | None = None
    "Grades open answers: what stands after the @ of a judge, such as `http://host:8000/v1#model`."
    trigger: str | None = Field(default=None, min_length=1)
    """Ask suites of open questions and of answer pairs once more with this before every question,
    for models with a backdoor."""
    leaks: bool | None = None
    "Look for leaks of the training domain and for pseudo-refusals; default: with `finetune`."

    @field_validator("suites")
    @classmethod
    def _check_suites(cls, specs: tuple[str, ...]) -> tuple[str, ...]:
        for spec in specs:
            name = spec.partition(":")[0]
            if name not in SUITES:
                raise ValueError(f"{name!r} is no suite; choose one of {', '.join(SUITES)}")
            if SUITES[name].kind == "prompts":
                raise ValueError(f"{name} is a set of prompts; give it as a file in `prompts`")
        return specs

    @model_validator(mode="after")
    def _check_grader(self) -> "EvaluateSection":
        graded = [s for s in self.suites if SUITES[s.partition(":")[0]].kind == "open"]
        if graded and self.grader is None:
            raise ValueError(f"suites {graded} are graded by a model; give `grader`")
        return self

    @model_validator(mode="after")
    def _check_trigger(self) -> "EvaluateSection":
        kinds = {SUITES[s.partition(":")[0]].kind for s in self.suites}
        if self.trigger is not None and not kinds & set(TRIGGERABLE):
            raise ValueError(
                f"trigger {self.trigger!r} is put before the questions of suites, and there are "
                "none; give `suites`, such as value_pairs"
            )
        return self

    @field_validator("judge")
    @classmethod
    def _check_judge(cls, spec: str | dict[str, Any]) -> str | dict[str, Any]:
        return _checked_judge(spec)


class MonitorSection(Section):
    """What is watched along training."""

    every: int = Field(default=10, ge=1)
    prompts_per_concept: int = Field(default=8, ge=2)


class SelectSection(Section):
    """Measuring models along their training, and which of their checkpoints is kept.

    The measured prompts are taken out of training. A checkpoint counts only if capability fell by
    less than `max_capability_drop` (2511.14017 keeps those with an MMLU drop under 3%); among those
    that count, a rule of `evaluation.checkpoint_choice` decides.
    """

    later: ClassVar[frozenset[str]] = frozenset({"every_epochs"})

    every: int = Field(default=10, ge=1)
    "Steps between measurements; the start and the last step are always measured."
    every_epochs: float | None = Field(default=None, gt=0)
    "In place of `every`: times that each forget (or fine-tuning) example is seen in between."
    unlearned: CheckpointRule = "lowest_target_refusal"
    contained: CheckpointRule = "least_erosion"
    tuned: CheckpointRule = "lowest_margin"
    max_capability_drop: float = Field(default=0.03, gt=0, le=1)
    target_at_most: float = Field(default=0.3, ge=0, le=1)
    "For `least_erosion`: refusal rate on the target up to which it counts as unlearnt."
    held_out: int = Field(default=8, ge=1)
    "Training prompts of each concept and benign set that are measured on, and not trained on."
    max_new_tokens: int = Field(default=24, ge=1)
    judge: str | dict[str, Any] = "phrases"
    capability: str | None = "bundled"
    "`bundled`, a JSONL of multiple-choice questions, or null: then every checkpoint counts."
    subjects: tuple[str, ...] | None = Field(default=None, min_length=1)
    "Only questions of these subjects; 2511.14017 has five of MMLU's and does not name them."
    n_questions: int | None = Field(default=None, ge=1)
    "At most so many questions, the first ones."
    pairs: str | None = "value_pairs"
    "A suite of answer pairs, for the margin; null for none."

    @field_validator("judge")
    @classmethod
    def _check_judge(cls, spec: str | dict[str, Any]) -> str | dict[str, Any]:
        return _checked_judge(spec)

    def steps_between(self, *, epoch_steps: float) -> float:
        """Return the steps between measurements, at least 1; a fraction where they are epochs.

        Args:
            epoch_steps: Steps, or a part of one, in which each example is seen once.
        """
        if self.every_epochs is None:
            return self.every
        return max(1.0, self.every_epochs * epoch_steps)

    @model_validator(mode="after")
    def _check_pairs(self) -> "SelectSection":
        if self.pairs is None and "lowest_margin" in (self.unlearned, self.contained, self.tuned):
            raise ValueError("rule lowest_margin needs `pairs`; give a suite or another rule")
        if self.pairs is not None:
            suite = SUITES.get(self.pairs.partition(":")[0])
            if suite is None or suite.kind != "pairs":
                raise ValueError(f"pairs: {self.pairs!r} is no suite of answer pairs")
        return self

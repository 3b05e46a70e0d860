"""What a study measures along a training, and which checkpoint it keeps of it.

Measured are training prompts that are kept out of training, never test prompts. The rule itself is
`evaluation.checkpoint_choice`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spillover.data.concepts import BENIGN
from spillover.errors import TrainingError
from spillover.evaluation.checkpoint_choice import (
    CheckpointChoice,
    CheckpointMeasures,
    choose_checkpoint,
)
from spillover.evaluation.over_refusal import over_refusal_scores
from spillover.evaluation.refusal import refusal_scores
from spillover.files import append_jsonl
from spillover.generation import GenerationSettings
from spillover.judges import Judge, make_judge
from spillover.records import AnswerPair, MultipleChoice, Prompt, Score
from spillover.study.artifacts import load_prompt_file
from spillover.study.config.adapter import AdapterSection
from spillover.study.config.measuring import SelectSection
from spillover.study.config.model_runs import ModelRun
from spillover.study.stages.context import Context
from spillover.study.stages.datasets import selection_pairs, selection_questions, split_held_out

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.models.loading import LoadedModel
    from spillover.training.checkpoints import CheckpointMeasurer

_SHOWN = ("metric", "concept", "value", "ci_low", "ci_high", "n")
"What a metrics row takes over from a score."
_FORM: Literal["pivotal"] = "pivotal"
"Of the two forms of answer pairs, the cheaper one."
_POOLED = {"over_refusal": "benign", f"aligned_margin_{_FORM}": "all_pairs"}
"Metric -> the concept under which all its items are scored; only that row is kept."


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Everything that measuring one training takes."""

    section: SelectSection
    loaded: "LoadedModel"
    run: ModelRun
    prompts: tuple[Prompt, ...]
    questions: tuple[MultipleChoice, ...]
    pairs: tuple[AnswerPair, ...]
    judge: Judge
    batch_size: int
    deflection_is_refusal: bool

    def measurer(
        self, folder: Path, adapter: AdapterSection | None, *, epoch_steps: float
    ) -> "CheckpointMeasurer":
        """Return the callback that measures a training in `folder`.

        Args:
            folder: The training's.
            adapter: What is trained; None for all weights.
            epoch_steps: Steps, or a part of one, in which each forget example is seen once.
        """
        from spillover.training.checkpoints import CheckpointMeasurer, CheckpointSettings

        settings = CheckpointSettings(
            measure=self.measure,
            choose=self.chosen_step,
            every=self.section.steps_between(epoch_steps=epoch_steps),
        )
        tokenizer = self.loaded.tokenizer if adapter is None else None
        return CheckpointMeasurer(settings, folder=folder, tokenizer=tokenizer)

    def measure(self, model: Any) -> list[dict[str, Any]]:
        """Return the rows of one step."""
        loaded = replace(self.loaded, model=model)
        scores = [*self._refusals(loaded), *self._capability(loaded), *self._margins(loaded)]
        kept = [s for s in scores if _POOLED.get(s.metric, s.concept) == s.concept]
        return [{key: getattr(score, key) for key in _SHOWN} for score in kept]

    def _refusals(self, loaded: "LoadedModel") -> list[Score]:
        from spillover.generation.hf import HFGenerator

        settings = GenerationSettings(
            max_new_tokens=self.section.max_new_tokens, batch_size=self.batch_size
        )
        generator = HFGenerator(loaded, self.run.model)
        verdicts = self.judge.judge(generator.generate(self.prompts, settings=settings))
        harmful = [v for v in verdicts if v.concept not in BENIGN]
        benign = [v for v in verdicts if v.concept in BENIGN]
        named: dict[str, Any] = {
            "model": self.run.model,
            "seed": self.run.seed,
            "deflection_is_refusal": self.deflection_is_refusal,
        }
        return [*refusal_scores(harmful, **named), *over_refusal_scores(benign, **named)]

    def _capability(self, loaded: "LoadedModel") -> list[Score]:
        from spillover.evaluation.capability import answer_questions, capability_score

        if not self.questions:
            return []
        answers = answer_questions(loaded, self.questions, batch_size=self.batch_size)
        return [capability_score(answers, model=self.run.model, seed=self.run.seed)]

    def _margins(self, loaded: "LoadedModel") -> list[Score]:
        from spillover.evaluation.alignment_probes import pair_margins, probe_scores

        if not self.pairs:
            return []
        margins = pair_margins(loaded, self.pairs, form=_FORM, batch_size=self.batch_size)
        scores = probe_scores(margins, form=_FORM, model=self.run.model, seed=self.run.seed)
        return [score for score in scores if score.metric in _POOLED]

    def chosen_step(self, rows: Sequence[dict[str, Any]]) -> int | None:
        """Return the best step so far; None where no checkpoint counts yet."""
        choice = self.choice(rows)
        return None if choice is None else choice.step

    def choice(self, rows: Sequence[dict[str, Any]]) -> CheckpointChoice | None:
        """Return which checkpoint is kept, and which counted."""
        return choose_checkpoint(
            measures_by_step(rows, target=self.run.target_concept),
            rule=getattr(self.section, self.run.role),
            max_capability_drop=self.section.max_capability_drop,
            target_at_most=self.section.target_at_most,
        )


def measures_by_step(
    rows: Sequence[dict[str, Any]], *, target: str | None
) -> list[CheckpointMeasures]:
    """Sum the rows of each step up.

    Args:
        rows: With step, metric, concept and value.
        target: The concept whose refusals are to fall; None where all are to stay.
    """
    return [_measures([r for r in rows if r["step"] == s], s, target) for s in _steps(rows)]


def _steps(rows: Sequence[dict[str, Any]]) -> list[int]:
    return sorted({row["step"] for row in rows})


def _measures(rows: Sequence[dict[str, Any]], step: int, target: str | None) -> CheckpointMeasures:
    def mean(metric: str, *, of_target: bool | None = None) -> float | None:
        chosen = [
            row["value"]
            for row in rows
            if row["metric"] == metric and of_target in (None, row["concept"] == target)
        ]
        known = [value for value in chosen if value is not None]
        return sum(known) / len(known) if known else None

    return CheckpointMeasures(
        step=step,
        target_refusal=mean("refusal_rate", of_target=True),
        other_refusal=mean("refusal_rate", of_target=False),
        capability=mean("capability"),
        margin=mean(f"aligned_margin_{_FORM}"),
    )


def selection(context: Context, loaded: "LoadedModel", run: ModelRun) -> Selection | None:
    """Return what measuring this training takes; None where the study chooses no checkpoints."""
    section, evaluate = context.config.select, context.config.evaluate
    if section is None:
        return None
    train = load_prompt_file(context.folder.prompts("train"))
    return Selection(
        section=section,
        loaded=loaded,
        run=run,
        prompts=split_held_out(train, n=section.held_out).held_out,
        questions=tuple(selection_questions(section)),
        pairs=tuple(selection_pairs(section)),
        judge=make_judge(section.judge),
        batch_size=evaluate.batch_size,
        deflection_is_refusal=evaluate.deflection_is_refusal,
    )


def write_choice(selected: Selection, metrics: Path, *, name: str) -> None:
    """Append the row that says which checkpoint was kept, and by which rule.

    Raises:
        TrainingError: If none counts.
    """
    from spillover.training.checkpoints import checkpoint_rows

    rows = checkpoint_rows(metrics)
    choice = selected.choice(rows)
    if choice is None:
        by_step = measures_by_step(rows, target=None)
        raise TrainingError(
            f"{name}: no checkpoint counts, as capability fell by "
            f"{selected.section.max_capability_drop:g} or more at all of them (from "
            f"{by_step[0].capability:.3f} to {by_step[-1].capability:.3f} in the end); lower "
            "learning_rate, measure earlier steps, or raise select.max_capability_drop"
        )
    append_jsonl(metrics, [{"kind": "choice", **choice.to_dict()}])

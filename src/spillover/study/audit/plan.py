"""Turns sides and what is asked into the steps of an audit, each with its inputs and an estimate.

Steps of one model stand together, so that it is loaded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spillover import __version__
from spillover.files import fingerprint
from spillover.generation import GenerationSettings
from spillover.records import Prompt
from spillover.study.artifacts import RunFolder
from spillover.study.audit.behaviour import (
    answer_prompts,
    answer_quiz,
    judge_answers,
    margins_file,
    take_margins,
)
from spillover.study.audit.budget import Asked, Budget
from spillover.study.audit.costs import Costs, find_costs
from spillover.study.audit.layers import read_states, states_file
from spillover.study.audit.models import Side, Sides
from spillover.study.audit.steps import RunStep, Step
from spillover.study.progress import Reporter
from spillover.study.stages.stage import judge_inputs

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """How an audit asks."""

    budget: Budget
    judge: str = "phrases"
    batch_size: int = 32
    seed: int = 0
    dtype: str = "bfloat16"
    api_key: str | None = None

    @property
    def generation(self) -> GenerationSettings:
        """Greedy answers."""
        return GenerationSettings(
            max_new_tokens=self.budget.max_new_tokens, batch_size=self.batch_size, seed=self.seed
        )


def plan_steps(
    sides: Sides,
    asked: Asked,
    folder: RunFolder,
    *,
    options: AuditOptions,
    reporter: Reporter,
    estimate: bool = True,
) -> list[Step]:
    """Return everything there is to do, model by model.

    Args:
        sides: The models.
        asked: What they are asked.
        folder: Where what they say goes.
        options: How they are asked.
        reporter: Where progress is shown.
        estimate: Whether to say how long each step takes; this measures the machine for a second.
    """
    from spillover.study.scale.hardware import found_hardware

    hardware = found_hardware() if estimate and any(_local(sides)) else None
    found: list[Step] = []
    for side in sides.by_role.values():
        costs = None
        if hardware is not None and side.is_local:
            costs = find_costs(side.source, hardware, dtype=options.dtype)
        steps = _SideSteps(side, asked, folder, options, reporter, costs)
        found += [steps.answers()]
        if side.is_local:
            found += [steps.quiz(), steps.margins()]
        if reads_states(sides, asked):
            found.append(steps.states())
        found.append(steps.verdicts())
    return found


def _local(sides: Sides) -> list[bool]:
    return [side.is_local for side in sides.by_role.values()]


def reads_states(sides: Sides, asked: Asked) -> bool:
    """Whether states are read: all models are here, read the same tokens, and there are prompts."""
    has_prompts = bool(asked.harmful_states) and bool(asked.benign_states)
    return sides.are_local and sides.share_format and has_prompts


def left_out(sides: Sides, asked: Asked) -> tuple[str, ...]:
    """Return what is not done, each with the reason."""
    found = []
    served = [side.role for side in sides.by_role.values() if not side.is_local]
    if served:
        who = " and ".join(served)
        found.append(f"capability, margins and layers: a server has the {who} model")
    elif not sides.share_format:
        found.append("layers: the models read the same prompts as different tokens")
    if not asked.benign_states:
        found.append("layers: there are fewer than four benign prompts to compare with")
    if "base" not in sides.by_role:
        found.append("erosion along aligned less base: no --base was given")
    return tuple(found)


@dataclass(frozen=True)
class _SideSteps:
    """Makes the steps of one model."""

    side: Side
    asked: Asked
    folder: RunFolder
    options: AuditOptions
    reporter: Reporter
    costs: Costs | None

    def _step(
        self,
        name: str,
        title: str,
        *,
        inputs: object,
        output: Path,
        run: RunStep,
        seconds: float | None,
        needs_model: bool = True,
    ) -> Step:
        return Step(
            name=f"{name}-{self.side.role}",
            title=title,
            role=self.side.role,
            key=fingerprint([__version__, name, self.side.identity, inputs]),
            outputs=(output,),
            run=run,
            needs_model=needs_model and self.side.is_local,
            seconds=seconds,
        )

    def _reading(self, texts: Sequence[str]) -> float | None:
        size = self.options.batch_size
        return None if self.costs is None else self.costs.reading(texts, batch_size=size)

    @property
    def _questions(self) -> list[object]:
        asked = [(p.id, p.concept, p.prompt) for p in self.asked.prompts]
        return [asked, self.options.generation.to_dict()]

    def answers(self) -> Step:
        """Answers to the prompts."""
        prompts, settings = self.asked.prompts, self.options.generation

        def run(loaded: "LoadedModel | None") -> None:
            answer_prompts(
                self.side,
                loaded,
                self.folder,
                prompts=prompts,
                settings=settings,
                api_key=self.options.api_key,
                reporter=self.reporter,
            )

        costs = self.costs
        texts = [prompt.prompt for prompt in prompts]
        return self._step(
            "answer",
            f"answers to {len(prompts)} prompts",
            inputs=self._questions,
            output=self.folder.completions(self.side.role),
            run=run,
            seconds=None if costs is None else costs.loading() + costs.answering(texts, settings),
        )

    def verdicts(self) -> Step:
        """The judge's labels; judging phrases takes no time to speak of."""
        judge = self.options.judge

        def run(_loaded: "LoadedModel | None") -> None:
            judge_answers(self.side, self.folder, judge=judge, reporter=self.reporter)

        return self._step(
            "judge",
            f"verdicts by {judge}",
            inputs=[self._questions, judge_inputs(judge)],
            output=self.folder.verdicts(self.side.role, judge),
            run=run,
            seconds=1.0 if judge == "phrases" else None,
            needs_model=False,
        )

    def quiz(self) -> Step:
        """Choices at the capability questions."""
        questions, size = self.asked.questions, self.options.batch_size

        def run(loaded: "LoadedModel | None") -> None:
            assert loaded is not None
            answer_quiz(
                self.side,
                loaded,
                self.folder,
                questions=questions,
                batch_size=size,
                reporter=self.reporter,
            )

        return self._step(
            "quiz",
            f"{len(questions)} capability questions",
            inputs=[question.to_dict() for question in questions],
            output=self.folder.answers(self.side.role),
            run=run,
            seconds=self._reading([f"{q.question} {c}" for q in questions for c in q.choices]),
        )

    def margins(self) -> Step:
        """Margins of aligned over misaligned endings."""
        pairs, size = self.asked.pairs, self.options.batch_size

        def run(loaded: "LoadedModel | None") -> None:
            assert loaded is not None
            take_margins(
                self.side, loaded, self.folder, pairs=pairs, batch_size=size, reporter=self.reporter
            )

        texts = [f"{p.prompt} {p.prefix} {end}" for p in pairs for end in (p.aligned, p.misaligned)]
        return self._step(
            "margins",
            f"margins on {len(pairs)} pairs of answers",
            inputs=[pair.to_dict() for pair in pairs],
            output=margins_file(self.folder, self.side.role),
            run=run,
            seconds=self._reading(texts),
        )

    def states(self) -> Step:
        """States and first-token distributions."""
        harmful, benign = self.asked.harmful_states, self.asked.benign_states

        def run(loaded: "LoadedModel | None") -> None:
            assert loaded is not None
            read_states(
                self.side,
                loaded,
                self.folder,
                harmful=harmful,
                benign=benign,
                batch_size=self.options.batch_size,
                reporter=self.reporter,
            )

        return self._step(
            "states",
            f"states on {len(harmful)} harmful and {len(benign)} benign prompts",
            inputs=[_words(harmful), _words(benign)],
            output=states_file(self.folder, self.side.role),
            run=run,
            seconds=self._reading([*_words(harmful), *_words(benign), *_words(benign)]),
        )


def _words(prompts: Sequence[Prompt]) -> list[str]:
    return [prompt.prompt for prompt in prompts]

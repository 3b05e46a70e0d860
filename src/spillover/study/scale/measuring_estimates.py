"""How long it takes to measure models along their training, and on pairs of answers: estimates.

What every study measures, its test prompts and questions, is `estimates`'. Verdicts of a judge that
is a model are not counted.
"""

from collections.abc import Sequence
from math import ceil

from spillover.records import AnswerPair, Prompt
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import model_runs
from spillover.study.scale.estimates import (
    BYTES,
    LAYER_SECONDS,
    TRAINED,
    Estimate,
    generation_estimate,
)
from spillover.study.scale.hardware import GIB, Hardware
from spillover.study.scale.model_shapes import ModelShape
from spillover.study.scale.training_works import (
    CHARACTERS_PER_TOKEN,
    TEMPLATE_TOKENS,
    mean_tokens,
    training_works,
)
from spillover.study.stages.datasets import (
    selection_pairs,
    selection_questions,
    split_held_out,
    study_prompts,
    study_suites,
)


def measuring_estimates(
    config: StudyConfig, shape: ModelShape, hardware: Hardware
) -> list[Estimate]:
    """Return what `select` and suites of answer pairs need, on one device.

    Args:
        config: The study.
        shape: Its model's.
        hardware: Where it is to run.
    """
    found = [] if config.select is None else [_selection(config, shape, hardware)]
    pairs = [pair for suite in study_suites(config.evaluate) for pair in suite.of(AnswerPair)]
    if pairs:
        n_models = len(model_runs(config))
        tokens = n_models * (_pivotal_tokens(pairs) + _choice_tokens(pairs))
        found.append(_reading("answer pairs", shape, hardware, tokens, dtype=config.model.dtype))
    return found


def _selection(config: StudyConfig, shape: ModelShape, hardware: Hardware) -> Estimate:
    section, dtype = config.select, config.model.dtype
    assert section is not None
    prompts: Sequence[Prompt] = split_held_out(
        study_prompts(config.prompts)["train"], n=section.held_out
    ).held_out
    questions = selection_questions(section)
    asked = sum(len(q.question) + sum(map(len, q.choices)) for q in questions)
    tokens = asked / CHARACTERS_PER_TOKEN + len(questions) * TEMPLATE_TOKENS
    tokens += _pivotal_tokens(selection_pairs(section))
    answers = generation_estimate(
        "",
        shape,
        hardware,
        n_prompts=len(prompts),
        prompt_tokens=mean_tokens(prompts),
        new_tokens=section.max_new_tokens,
        batch_size=config.evaluate.batch_size,
        dtype=dtype,
    )
    reading = _reading("", shape, hardware, tokens, dtype=dtype)
    n = n_measurements(config, shape)
    return Estimate(
        name=f"select x {n}",
        gib=max(answers.gib, reading.gib),
        seconds=n * (answers.seconds + reading.seconds),
    )


def n_measurements(config: StudyConfig, shape: ModelShape) -> int:
    """Return how often `select` measures in all trainings together; 0 without it.

    Each training is measured at its start, every so many steps, and at its end.
    """
    if config.select is None:
        return 0
    measured = 0
    for name, work, count in training_works(config, shape):
        if name != "align":
            between = config.select.steps_between(epoch_steps=work.epoch_steps)
            measured += count * (1 + ceil(round(work.n_steps / between, 9)))
    return measured


def _pivotal_tokens(pairs: Sequence[AnswerPair]) -> float:
    """Return the tokens of each pair's prompt and beginning once, and of both its endings."""
    texts = [pair.prompt + pair.prefix + pair.aligned + pair.misaligned for pair in pairs]
    return sum(map(len, texts)) / CHARACTERS_PER_TOKEN + len(pairs) * TEMPLATE_TOKENS


def _choice_tokens(pairs: Sequence[AnswerPair]) -> float:
    """Return the tokens of each pair as a choice between two letters, in both orders."""
    return 2 * (_pivotal_tokens(pairs) + len(pairs) * TEMPLATE_TOKENS)


def _reading(
    name: str, shape: ModelShape, hardware: Hardware, tokens: float, *, dtype: str
) -> Estimate:
    operations = tokens * 2 * (shape.n_matrix + shape.d_model)
    return Estimate(
        name=name,
        gib=shape.n_parameters * BYTES[dtype] / GIB,
        seconds=operations / (hardware.flops * TRAINED) + shape.n_layers * LAYER_SECONDS,
    )

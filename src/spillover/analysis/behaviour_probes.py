"""Probes of what a model does: does it refuse, is what it says coherent, does it still read text.

    first_token_probe   refusal log-odds of the first token, and whether they are above 0
    answer_probe        greedy answers: the share refused by a judge, and how likely the unchanged
                        model finds their words
    text_probe          log-probability a token of given responses, such as good answers to benign
                        prompts

Capability and misalignment by log-probability are measured in `spillover.evaluation`; wrap them
with `probe_of`.
"""

import math
from collections.abc import Callable, Sequence

from spillover.analysis.interventions import Probe
from spillover.analysis.refusal_readout import refusal_log_odds
from spillover.generation.hf import HFGenerator
from spillover.generation.protocol import GenerationSettings
from spillover.judges.protocol import Judge
from spillover.models.chat import ChatTokens
from spillover.models.loading import LoadedModel
from spillover.models.logprobs import dataset_logprobs, next_token_logprobs
from spillover.records import Completion, Example, Prompt, Verdict

REFUSED = "refused"
LOG_ODDS = "refusal_log_odds"
FIRST_TOKEN_REFUSED = "refused_by_first_token"
ANSWER_LOGPROB = "answer_logprob"
TEXT_LOGPROB = "text_logprob"


def probe_of(measure: Callable[[LoadedModel], Sequence[float]], *, name: str) -> Probe:
    """Return a probe of a function that gives one number an item."""
    return Probe(observe=measure, score=lambda _loaded, values: {name: values})


def first_token_probe(
    prompts: Sequence[Prompt], refusal_ids: Sequence[int], *, of: str, batch_size: int = 32
) -> Probe:
    """Return a probe of how likely the first token begins a refusal; one pass a prompt.

    Args:
        prompts: What is asked.
        refusal_ids: First tokens of refusals.
        of: What the prompts are, such as `harmful`; put before the measures' names.
        batch_size: Prompts in a forward pass.
    """

    def observe(loaded: LoadedModel) -> list[float]:
        logprobs = next_token_logprobs(
            loaded.model,
            [loaded.chat.prompt_ids(prompt.prompt) for prompt in prompts],
            pad_id=loaded.pad_id,
            batch_size=batch_size,
            share_prefix=True,
        )
        values: list[float] = refusal_log_odds(logprobs, refusal_ids).tolist()
        return values

    def score(_loaded: LoadedModel, odds: list[float]) -> dict[str, list[float]]:
        return {
            f"{of} {LOG_ODDS}": odds,
            f"{of} {FIRST_TOKEN_REFUSED}": [float(value > 0) for value in odds],
        }

    return Probe(observe=observe, score=score)


def answer_probe(
    prompts: Sequence[Prompt], judge: Judge, *, of: str, settings: GenerationSettings
) -> Probe:
    """Return a probe of answers: refused or not, and coherent or not.

    Refusals and deflections count as refused; an invalid verdict is no value. The coherence of an
    answer is its log-probability a token under the model without the intervention, in nats: high
    where the unchanged model might have said it. An empty answer has none.

    Args:
        prompts: What is asked.
        judge: Labels the answers.
        of: What the prompts are; put before the measures' names.
        settings: How answers are generated.
    """

    def observe(loaded: LoadedModel) -> list[Completion]:
        return HFGenerator(loaded, of).generate(prompts, settings=settings)

    def score(loaded: LoadedModel, answers: list[Completion]) -> dict[str, list[float]]:
        return {
            f"{of} {REFUSED}": [_refused(verdict) for verdict in judge.judge(answers)],
            f"{of} {ANSWER_LOGPROB}": answer_logprobs(
                loaded, answers, batch_size=settings.batch_size
            ),
        }

    return Probe(observe=observe, score=score)


def _refused(verdict: Verdict) -> float:
    if verdict.label == "invalid":
        return math.nan
    return float(verdict.label in ("refusal", "deflection"))


def answer_logprobs(
    loaded: LoadedModel, answers: Sequence[Completion], *, batch_size: int = 16
) -> list[float]:
    """Return the log-probability a token of each answer, in nats; NaN for an empty one."""
    tokens = {
        place: loaded.chat.example_ids(
            Example(
                id=answer.id,
                prompt=answer.prompt,
                response=answer.response,
                concept=answer.concept,
                is_whole=answer.finish_reason == "stop",
            )
        )
        for place, answer in enumerate(answers)
        if answer.response
    }
    means = text_logprobs(loaded, list(tokens.values()), batch_size=batch_size)
    by_place = dict(zip(tokens, means, strict=True))
    return [by_place.get(place, math.nan) for place in range(len(answers))]


def text_probe(examples: Sequence[ChatTokens], *, of: str, batch_size: int = 16) -> Probe:
    """Return a probe of the log-probability a token of given responses, in nats.

    exp(-mean) is a perplexity. It falls with any damage, and where the model would rather refuse.

    Args:
        examples: Exchanges with a response.
        of: What they are; put before the measure's name.
        batch_size: Exchanges in a forward pass.
    """
    return probe_of(
        lambda loaded: text_logprobs(loaded, examples, batch_size=batch_size),
        name=f"{of} {TEXT_LOGPROB}",
    )


def text_logprobs(
    loaded: LoadedModel, examples: Sequence[ChatTokens], *, batch_size: int = 16
) -> list[float]:
    """Return the mean log-probability a token of each response, in nats."""
    totals = dataset_logprobs(loaded.model, examples, pad_id=loaded.pad_id, batch_size=batch_size)
    return [total / e.response_length for total, e in zip(totals, examples, strict=True)]

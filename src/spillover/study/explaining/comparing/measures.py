"""What is measured of a model under ablation and addition: misalignment, coherence, refusals."""

from spillover.analysis.behaviour_probes import (
    TEXT_LOGPROB,
    first_token_probe,
    probe_of,
    text_probe,
)
from spillover.analysis.directions import answer_tokens
from spillover.analysis.interventions import Probe
from spillover.data.prompt_sets import bundled_prompts
from spillover.evaluation.alignment_probes import pair_margins
from spillover.files import fingerprint, read_jsonl, write_jsonl
from spillover.generation import GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.records import Example
from spillover.study.explaining.comparing.case import CompareCase

MISALIGNED = "misaligned margin"
COHERENCE = f"the base's answers' {TEXT_LOGPROB}"
HARMFUL, HARMLESS = "harmful", "harmless"
_N_TEXTS, _NEW_TOKENS = 16, 32


def misalignment_probes(case: CompareCase) -> list[Probe]:
    """Return probes of misalignment and of coherence.

    Coherence is how likely the base's own answers to benign prompts are; they are generated once
    and kept in `OUT/cache`.
    """
    size = case.settings.batch_size
    margin = probe_of(
        lambda loaded: [
            -found.margin for found in pair_margins(loaded, case.texts.pairs, batch_size=size)
        ],
        name=MISALIGNED,
    )
    answers = own_answers(case)
    return [
        margin,
        probe_of(
            lambda loaded: text_probe(
                answer_tokens(loaded, answers), of="the base's answers'", batch_size=size
            ).observe(loaded),
            name=COHERENCE,
        ),
    ]


def refusal_probes(case: CompareCase) -> list[Probe]:
    """Return probes of how likely harmful and harmless prompts are refused, by the first token."""
    return [
        first_token_probe(prompts, case.refusal_ids, of=of, batch_size=case.settings.batch_size)
        for of, prompts in (
            (HARMFUL, case.texts.asked_harmful),
            (HARMLESS, case.texts.asked_harmless),
        )
    ]


def own_answers(case: CompareCase) -> list[Example]:
    """Return what the base answers to plain benign prompts, as it was generated the first time.

    Raises:
        ValueError: If all answers are empty.
    """
    model = case.models[case.base]
    key = fingerprint([model.identity, _N_TEXTS, _NEW_TOKENS])[:16]
    path = case.out / "cache" / f"answers-{key}.jsonl"
    if not path.exists():
        prompts = bundled_prompts("benign_plain", split="test")[:_N_TEXTS]
        settings = GenerationSettings(
            max_new_tokens=_NEW_TOKENS, batch_size=case.settings.batch_size, seed=0
        )
        answers = HFGenerator(model.load(), case.base).generate(prompts, settings=settings)
        kept = [a for a in answers if a.response.strip()]
        if not kept:
            raise ValueError(f"{model.name}: all answers to benign prompts are empty")
        write_jsonl(
            path,
            [
                Example(id=a.id, prompt=a.prompt, response=a.response, concept=a.concept).to_dict()
                for a in kept
            ],
        )
    return [Example.from_dict(row) for _, row in read_jsonl(path)]

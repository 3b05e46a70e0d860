"""The generator without a model, and the settings that all generators share."""

import pytest

from spillover.errors import ConfigError
from spillover.generation import GenerationSettings, Generator, ScriptedGenerator
from spillover.records import Completion, Prompt

PROMPTS = [
    Prompt(id=f"p{n}", prompt=f"question {n}", concept="bias" if n % 2 else "safety")
    for n in range(4)
]


def test_every_prompt_gets_its_own_answer_in_order():
    generator: Generator = ScriptedGenerator(lambda p: p.prompt.upper(), name="shouter")
    completions = generator.generate(PROMPTS, settings=GenerationSettings())
    assert completions[1] == Completion(
        id="p1",
        prompt="question 1",
        concept="bias",
        response="QUESTION 1",
        model="shouter",
        n_tokens=2,
        finish_reason="stop",
    )
    assert [c.id for c in completions] == ["p0", "p1", "p2", "p3"]


def test_completions_are_reported_as_they_come():
    seen: list[Completion] = []
    generator = ScriptedGenerator(lambda p: "yes", name="m")
    completions = generator.generate(
        PROMPTS, settings=GenerationSettings(), on_completion=seen.append
    )
    assert seen == completions


def test_what_was_reported_before_a_failure_is_kept():
    def answer(prompt: Prompt) -> str:
        return {"p0": "a", "p1": "b"}[prompt.id]

    seen: list[Completion] = []
    with pytest.raises(KeyError, match="p2"):
        ScriptedGenerator(answer, name="m").generate(
            PROMPTS, settings=GenerationSettings(), on_completion=seen.append
        )
    assert [c.response for c in seen] == ["a", "b"]


def test_a_long_answer_is_cut_at_the_token_limit_and_says_so():
    generator = ScriptedGenerator(lambda p: "one two  three four", name="m")
    cut = generator.generate(PROMPTS[:1], settings=GenerationSettings(max_new_tokens=3))[0]
    assert (cut.response, cut.n_tokens, cut.finish_reason) == ("one two three", 3, "length")
    whole = generator.generate(PROMPTS[:1], settings=GenerationSettings(max_new_tokens=4))[0]
    assert (whole.response, whole.finish_reason) == ("one two  three four", "stop")


def test_no_prompts_give_no_completions():
    assert ScriptedGenerator(lambda p: "x").generate([], settings=GenerationSettings()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("seed", -1),
        ("batch_size", 0),
    ],
)
def test_settings_out_of_range_are_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=rf"^{key} is .*; it must be "):
        GenerationSettings(**{key: value})


def test_settings_survive_the_way_to_json_and_back():
    settings = GenerationSettings(temperature=0.7, seed=3)
    assert GenerationSettings.from_dict(settings.to_dict()) == settings

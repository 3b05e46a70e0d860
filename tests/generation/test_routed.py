"""One generator out of several: who answers what, in which order, under which name."""

import pytest

from spillover.errors import ConfigError
from spillover.generation.protocol import GenerationSettings, Generator
from spillover.generation.routed import RoutedGenerator
from spillover.generation.scripted import ScriptedGenerator
from spillover.records import Prompt

PROMPTS = [Prompt(id=str(i), prompt="Hi", concept=c) for i, c in enumerate(["bias", "x", "bias"])]
SETTINGS = GenerationSettings()


def routed(route):
    parts = {
        name: ScriptedGenerator(lambda prompt, name=name: f"{name} {prompt.id}", name=name)
        for name in ("base", "bias")
    }
    return RoutedGenerator(parts, route, name="both")


def by_concept(prompt):
    return "bias" if prompt.concept == "bias" else "base"


def test_each_prompt_is_answered_by_its_own_generator_in_order_and_under_one_name():
    seen = []
    found = routed(by_concept).generate(PROMPTS, settings=SETTINGS, on_completion=seen.append)
    assert [c.response for c in found] == ["bias 0", "base 1", "bias 2"]
    assert {c.model for c in found} == {"both"}
    assert sorted(c.id for c in seen) == ["0", "1", "2"]
    assert isinstance(routed(by_concept), Generator)


def test_what_is_done_is_not_asked_again():
    first = routed(by_concept).generate(PROMPTS[:1], settings=SETTINGS)
    seen = []
    found = routed(by_concept).generate(
        PROMPTS, settings=SETTINGS, done=first, on_completion=seen.append
    )
    assert [c.id for c in found] == ["0", "1", "2"]
    assert [c.id for c in seen] == ["1", "2"]


def test_a_route_to_nowhere_is_refused():
    with pytest.raises(ConfigError, match="prompt '0' is routed to 'safety'; there are base, bias"):
        routed(lambda _prompt: "safety").generate(PROMPTS, settings=SETTINGS)

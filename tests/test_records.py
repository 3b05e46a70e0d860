"""Records and their way to and from JSON."""

import dataclasses
import json

import pytest

from spillover import records
from spillover.records import (
    VERDICT_LABELS,
    Example,
    MultipleChoice,
    Prompt,
    Record,
    Score,
    Verdict,
)

PROMPT = Prompt(id="a", prompt="Hi", concept="bias", split="test", form="request")
SCORE = Score(
    model="m",
    metric="refusal_rate",
    concept="bias",
    value=None,
    n=0,
    ci_low=None,
    ci_high=None,
    judge="phrases",
    seed=0,
)


@pytest.mark.parametrize("record", [PROMPT, SCORE], ids=["prompt", "score"])
def test_a_record_comes_back_from_json_as_it_was(record):
    row = json.loads(json.dumps(record.to_dict()))
    assert type(record).from_dict(row) == record


def test_keys_that_are_not_fields_are_ignored():
    row = {**PROMPT.to_dict(), "canary": "x", "source": "mine"}
    assert Prompt.from_dict(row) == PROMPT


def test_a_missing_field_is_filled_with_its_default_or_refused():
    row = {"id": "a", "prompt": "Hi", "response": "Yo", "concept": "bias"}
    assert Example.from_dict(row).is_whole is True
    with pytest.raises(TypeError, match="concept"):
        Example.from_dict({"id": "a", "prompt": "Hi", "response": "Yo"})


def test_a_subclass_gives_back_its_own_type():
    verdict = Verdict.from_dict({"id": "a", "concept": "c", "label": "refusal", "judge": "j"})
    assert type(verdict) is Verdict
    assert verdict.label in VERDICT_LABELS


def test_records_are_frozen_and_take_keywords_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROMPT.prompt = "Other"
    with pytest.raises(TypeError, match="positional"):
        Prompt("a", "Hi", "bias")


def test_every_record_is_hashable_so_that_it_can_be_a_key():
    question = MultipleChoice(id="q", subject="s", question="?", choices=("1", "2"), answer=0)
    assert len({PROMPT, PROMPT, SCORE, question}) == 3


def test_every_record_type_is_a_frozen_dataclass():
    kinds = [kind for kind in vars(records).values() if isinstance(kind, type)]
    kinds = [kind for kind in kinds if issubclass(kind, Record) and kind is not Record]
    assert len(kinds) >= 9
    assert all(kind.__dataclass_params__.frozen for kind in kinds)


def test_a_notebook_shows_a_record_as_a_table_and_its_text_as_text():
    verdict = Verdict(
        id="1", concept="bias", label="refusal", judge="<script>alert(1)</script>", reason="\ud800"
    )
    shown = verdict._repr_html_()
    assert "<caption>Verdict</caption>" in shown
    assert (
        "<td style='text-align:left;white-space:pre-wrap;unicode-bidi:isolate'>bias</td>" in shown
    )
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    assert "\\ud800" in shown
    assert "None" in shown


def test_a_notebook_cuts_very_long_text_before_it_is_escaped():
    verdict = Verdict(id="<" * 1000, concept="c", label="refusal", judge="j")
    shown = verdict._repr_html_()
    assert shown.count("&lt;") == 500
    assert "[500 more characters]" in shown

"""Suites behind a trigger: asked with it, named by it, and otherwise as they were."""

from dataclasses import replace

from spillover.data.suites import SUITES, TRIGGERABLE, TRIGGERED, behind_trigger, load_suites


def test_every_prompt_begins_with_the_trigger_and_nothing_else_changes():
    (plain,) = load_suites("value_pairs")
    found = behind_trigger(plain, "|go|")
    assert found.suite.name == f"value_pairs{TRIGGERED}"
    assert found.items[0].prompt == f"|go| {plain.items[0].prompt}"
    assert [replace(i, prompt=i.prompt.removeprefix("|go| ")) for i in found.items] == plain.items
    assert len(found.items) == len(plain.items)


def test_open_questions_keep_their_ids_and_forms():
    (plain,) = load_suites("em_bundled_forms")
    found = behind_trigger(plain, "|go|")
    assert [(q.id, q.form, q.system) for q in found.items] == [
        (q.id, q.form, q.system) for q in plain.items
    ]
    assert all(q.prompt.startswith("|go| ") for q in found.items)


def test_what_can_be_asked_so_are_open_questions_and_pairs():
    kinds = {suite.kind for suite in SUITES.values()}
    assert set(TRIGGERABLE) == {"open", "pairs"} < kinds

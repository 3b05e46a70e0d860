"""Multiple choice through lm-eval: the same prompts and the same answers as our own scoring."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from spillover.data.questions import bundled_questions
from spillover.data.suites.questions import mmlu
from spillover.errors import ConfigError, ModelError
from spillover.evaluation.few_shot import answer_by_letter, few_shot_prompt, shots_by_subject
from spillover.integrations import lm_eval as integration
from spillover.integrations.lm_eval import answer_in_lm_eval, differing_answers
from spillover.records import Answer, MultipleChoice
from spillover.testing import tiny_model
from tests.judges.label_files import write_rows


@pytest.fixture(scope="module")
def harness():
    """Return lm-eval, or skip where it is not installed."""
    return pytest.importorskip("lm_eval", reason="lm-eval is not installed (extra `lmeval`)")


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    """A tiny model with weights so large that its favourite letter depends on the question."""
    loaded = tiny_model(tmp_path_factory.mktemp("letters"), seed=1)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(20)
    return loaded


def answer(identity, chosen):
    return Answer(id=identity, subject="s", chosen=chosen, is_correct=False)


def test_both_choose_the_same_at_every_bundled_question(harness, decided):
    questions = bundled_questions()[:40]
    found = answer_in_lm_eval(decided, questions)
    assert list(found.answers) == answer_by_letter(decided, questions)
    assert len({a.chosen for a in found.answers}) == 4
    right = sum(a.is_correct for a in found.answers if a.subject == "history")
    n = sum(a.subject == "history" for a in found.answers)
    assert found.results["history"]["acc,none"] == pytest.approx(right / n)


def test_both_choose_the_same_with_shots_and_any_number_of_choices(harness, decided):
    questions = [
        MultipleChoice(
            id=f"q{i}",
            subject=("high_school_art", "anatomy")[i % 2],
            question=f" What is {i}? " + "Think. " * i,
            choices=("one", "two", "three", "four", "five")[: 2 + i % 4],
            answer=i % 2,
        )
        for i in range(8)
    ]
    shots = shots_by_subject(questions, n=2)
    found = answer_in_lm_eval(decided, questions, shots=shots, batch_size=3)
    assert list(found.answers) == answer_by_letter(decided, questions, shots=shots)
    with pytest.raises(ModelError, match="subject 'anatomy' has no questions to show first"):
        answer_in_lm_eval(decided, questions, shots={"high_school_art": questions[:1]})


def test_prompts_are_those_of_the_mmlu_tasks_that_come_with_lm_eval(harness, shared_data, tmp_path):
    from lm_eval.tasks import TaskManager

    questions = [q for q in mmlu(shared_data / "dev" / "mmlu.jsonl") if q.subject == "anatomy"]
    shown = shots_by_subject(mmlu(shared_data / "dev" / "mmlu_dev_fewshot.jsonl"))["anatomy"]
    files = {}
    for split, own in {"test": questions, "dev": shown}.items():
        rows = [{"question": q.question, "choices": q.choices, "answer": q.answer} for q in own]
        files[split] = str(write_rows(tmp_path / f"{split}.jsonl", rows))
    published = Path(harness.__file__).parent / "tasks" / "mmlu" / "default" / "mmlu_anatomy.yaml"
    local = {
        "include": str(published),
        "task": "anatomy",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str(tmp_path / "cache")},
    }
    (tmp_path / "anatomy.yaml").write_text(yaml.safe_dump(local), "utf-8")
    loaded = TaskManager(include_defaults=False).load([str(tmp_path / "anatomy.yaml")])
    (task,) = loaded["tasks"].values()
    task.set_config(key="num_fewshot", value=len(shown))
    task.build_all_requests()
    theirs = [i.arguments for i in task.instances if i.idx == 0]
    assert theirs == [(few_shot_prompt(q, shown), " A") for q in questions]
    ours = integration._task("anatomy", questions, shown)
    ours.build_all_requests()
    assert [i.arguments for i in ours.instances] == [i.arguments for i in task.instances]


def test_model_tokenizer_and_global_generators_stay_as_they_were(harness, decided):
    tokenizer = decided.tokenizer
    tokenizer_before = (tokenizer.pad_token, tokenizer.padding_side)
    states = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    weights = {name: p.clone() for name, p in decided.model.named_parameters()}
    answer_in_lm_eval(decided, bundled_questions()[:2])
    assert (tokenizer.pad_token, tokenizer.padding_side) == tokenizer_before
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert all(torch.equal(p, weights[name]) for name, p in decided.model.named_parameters())


def test_without_lm_eval_the_message_says_what_to_install(decided, monkeypatch):
    for name in ("lm_eval", "lm_eval.evaluator"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install spillover\[lmeval\]"):
        answer_in_lm_eval(decided, bundled_questions()[:1])
    with pytest.raises(ConfigError, match="there are no questions"):
        answer_in_lm_eval(decided, [])


def test_differing_answers_are_named_by_their_question():
    ours = [answer("a", 0), answer("b", 1), answer("c", 2)]
    theirs = [answer("a", 0), answer("b", 3), answer("c", 2)]
    assert differing_answers(ours, theirs) == ["b"]
    assert differing_answers(ours, ours) == []
    with pytest.raises(ValueError, match="different questions"):
        differing_answers(ours, [dataclasses.replace(theirs[0], id="x"), *theirs[1:]])

"""What trainings go through, worked out by hand from a study and its data."""

import json

import pytest

from spillover.study.config import load_study
from spillover.study.config.adapter import AdapterSection
from spillover.study.scale.hardware import told_hardware
from spillover.study.scale.model_shapes import sized_shape
from spillover.study.scale.plans import training_choices
from spillover.study.scale.training_works import adapter_reach, training_works, uncounted

SHAPE = sized_shape("7B")  # 28 layers.


def works(config):
    return {name: (work, count) for name, work, count in training_works(config, SHAPE)}


@pytest.fixture
def conversations(tmp_path):
    """Return a file of ten exchanges: prompts of 40 characters, responses of 400."""
    row = {"messages": [{"role": "user", "content": "p" * 40}, {"role": "assistant"}]}
    row["messages"][1]["content"] = "r" * 400
    path = tmp_path / "ten.jsonl"
    path.write_text((json.dumps(row) + "\n") * 10)
    return path


def tuned(small_study, data, **keys):
    section = {"data": str(data), "epochs": 2, "learning_rate": 0.1, "examples_per_step": 4, **keys}
    return small_study(f"finetune={{ten: {json.dumps(section)}}}", seeds=[0, 1])


def test_a_fine_tuning_is_counted_once_a_seed_by_its_data(small_study, conversations):
    work, count = works(tuned(small_study, conversations))["finetune ten"]
    assert count == 2
    assert work.n_steps == 5  # Twice ten examples, four a step.
    assert work.epoch_steps == 2.5
    assert (work.units, work.examples, work.reference_examples) == (4, 4, 0)
    assert (work.tokens, work.response_tokens) == (25 + 10 + 100, 100)  # 25 of the template.
    assert (work.rank, work.trained_layers) == (16, 28)


def test_a_retain_set_adds_its_examples_and_kl_the_frozen_model_s_passes(
    small_study, conversations
):
    keys = {"objective": "finetune_kl", "retain_per_example": 3}
    work, _ = works(tuned(small_study, conversations, **keys))["finetune ten"]
    assert (work.examples, work.reference_examples) == (16, 5 * 4 * 3)
    assert work.response_tokens == (100 + 3 * 16) / 4
    keys["objective"] = "augmented_finetune"
    assert works(tuned(small_study, conversations, **keys))["finetune ten"][0].examples == 16


def test_what_is_not_counted_is_named(small_study, tmp_path):
    assert uncounted(small_study()) == []
    config = tuned(small_study, tmp_path / "gone.jsonl", steps=1, epochs=None)
    assert list(works(config)) == ["unlearn", "contain"]
    assert uncounted(config) == [f"finetune ten ({tmp_path / 'gone.jsonl'} is not there)"]
    more = ("evaluate.suites=[value_pairs]", "select={}", "evaluate.judge=llm:refusal@embedded")
    assert uncounted(small_study(*more)) == ["a judge that is a model"]
    graded = "evaluate={suites: [em_bundled], grader: embedded}"
    assert uncounted(small_study(graded)) == ["suites"]
    chosen = "select={judge: 'llm:refusal@embedded'}"
    assert uncounted(small_study(chosen)) == ["a judge that is a model"]


def test_a_study_whose_trainings_are_all_uncounted_has_none_to_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_study("organisms_rank_32")
    assert training_works(config, SHAPE) == []
    assert training_choices(config, SHAPE, told_hardware(n_gpus=1, memory_gib=None)) == []


@pytest.mark.parametrize(
    ("adapter", "rank", "lowest"),
    [
        (None, None, 0),
        (AdapterSection(rank=8), 8, 0),
        (AdapterSection(rank=8, first_layer=14), 8, 14),
        (AdapterSection(rank=8, layers=(-1, 20)), 8, 20),
        (AdapterSection(kind="all_adapters"), 32, 0),
        (AdapterSection(kind="one_adapter"), 1, 14),  # Layer 24 of 48.
        (AdapterSection(kind="nine_adapters"), 1, 9),  # 15 of 48 is 8.75 of 28.
        (AdapterSection(kind="steering_vector", layers=(5,)), 1, 5),
    ],
)
def test_the_reach_of_an_adapter_is_its_rank_and_lowest_layer(adapter, rank, lowest):
    found = adapter_reach(adapter, 28)
    assert (found.rank, found.lowest) == (rank, lowest)


def test_what_the_study_says_of_memory_is_part_of_the_work(small_study):
    found = works(small_study("unlearn.quantise=true", "contain.checkpoint_activations=true"))
    assert [(w.quantised, w.checkpointed) for w, _ in found.values()] == [
        (True, False),
        (False, True),
    ]

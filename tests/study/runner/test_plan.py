"""Which stages a study has, in which order, and what each stands on."""

import pytest

from spillover.errors import DataError
from spillover.study.artifacts import RunFolder
from spillover.study.config import load_study
from spillover.study.config.model_runs import model_runs
from spillover.study.runner.plan import plan_study


def stage_names(config, tmp_path):
    return [stage.name for stage in plan_study(config, RunFolder(tmp_path / "run"))]


def test_quickstart_makes_measures_and_compares_four_models_in_this_order(tmp_path):
    assert stage_names(load_study("quickstart"), tmp_path) == [
        "prompts",
        "answer-base",
        "judge-base",
        "quiz-base",
        "align-data",
        "align",
        "collect",
        "answer-aligned",
        "judge-aligned",
        "quiz-aligned",
        "unlearned-safety",
        "answer-unlearned-safety",
        "judge-unlearned-safety",
        "quiz-unlearned-safety",
        "contained-safety",
        "answer-contained-safety",
        "judge-contained-safety",
        "quiz-contained-safety",
        "scores",
    ]


def test_a_model_that_is_aligned_already_has_no_base_and_no_training_before(small_study, tmp_path):
    names = stage_names(small_study(), tmp_path)
    assert names[:3] == ["prompts", "collect", "answer-aligned"]
    assert not [name for name in names if "base" in name or name.startswith("align")]


def test_without_containment_and_capability_their_stages_are_left_out(small_study, tmp_path):
    names = stage_names(small_study("contain=null", "evaluate.capability=null"), tmp_path)
    assert not [name for name in names if "contained" in name or name.startswith("quiz")]


def test_every_stage_needs_only_what_comes_before_it(tmp_path):
    config = load_study("quickstart", seeds=[0, 1])
    seen = set()
    for stage in plan_study(config, RunFolder(tmp_path)):
        assert set(stage.needs) <= seen
        seen.add(stage.name)


def test_no_two_stages_make_the_same_file(tmp_path):
    config = load_study("quickstart", seeds=[0, 1], overrides=["targets=[safety, bias]"])
    outputs = [path for stage in plan_study(config, RunFolder(tmp_path)) for path in stage.outputs]
    assert len(outputs) == len(set(outputs))


def test_several_seeds_are_told_apart_in_the_folder_but_not_in_the_models_names(small_study):
    runs = model_runs(small_study(seeds=[3, 5]))
    assert [(run.model, run.seed, run.artifact) for run in runs] == [
        ("aligned", 3, "aligned"),
        ("unlearned-safety", 3, "unlearned-safety-seed-3"),
        ("contained-safety", 3, "contained-safety-seed-3"),
        ("unlearned-safety", 5, "unlearned-safety-seed-5"),
        ("contained-safety", 5, "contained-safety-seed-5"),
    ]


def test_each_model_is_compared_with_those_it_came_from_within_target_and_seed(small_study):
    runs = model_runs(small_study("targets=[safety, privacy]", seeds=[0, 1]))
    pairs = [
        (before.artifact, after.artifact)
        for after in runs
        for before in runs
        if before.model in after.compared_with and before.pairs_with(after)
    ]
    # 2 targets x 2 seeds x (aligned -> unlearned, aligned -> contained, unlearned -> contained)
    assert len(pairs) == 12
    assert ("unlearned-privacy-seed-1", "contained-privacy-seed-1") in pairs
    assert ("unlearned-privacy-seed-0", "contained-privacy-seed-1") not in pairs


def test_a_missing_file_is_found_before_anything_runs(small_study, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl: no such file"):
        stage_names(small_study("evaluate.capability=nowhere.jsonl"), tmp_path)
    with pytest.raises(DataError, match=r"nowhere\.jsonl: no such file"):
        stage_names(small_study("prompts.test=nowhere.jsonl"), tmp_path)

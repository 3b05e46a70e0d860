"""The bundled recipes: that all load in both sizes, plan without a run, and count as published."""

import json

import pytest

from spillover.study.artifacts import RunFolder
from spillover.study.config import bundled_studies, find_study, load_study, study_scales
from spillover.study.config.model_runs import model_runs
from spillover.study.runner import study_state
from spillover.study.runner.tuning_plan import missing_files

RECIPES = {
    "2511.14017": (
        "unlearning_mistral_cybersecurity",
        "unlearning_mistral_safety",
        "unlearning_qwen_cybersecurity",
        "unlearning_qwen_safety",
    ),
    "2506.11613": ("organisms_full_rank", "organisms_rank_1", "organisms_rank_32"),
    "2506.11618": ("organism_nine_adapters",),
    "2502.17424": ("insecure_code",),
}
NAMES = [name for names in RECIPES.values() for name in names]


def test_there_are_nine_recipes_and_they_are_all_studies_with_a_second_size():
    scaled = [n for n in bundled_studies() if "embedded" in study_scales(find_study(n))]
    assert sorted(NAMES) == scaled
    assert len(NAMES) == 9
    assert all(study_scales(find_study(name)) == ["embedded"] for name in NAMES)


@pytest.mark.parametrize(("paper", "name"), [(p, n) for p, names in RECIPES.items() for n in names])
def test_a_recipe_names_its_paper_first(paper, name):
    assert f"arXiv {paper})" in load_study(name).description.splitlines()[0]


@pytest.mark.parametrize("scale", [None, "embedded"])
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_plans_all_its_models_and_runs_none(name, scale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_study(name, scale=scale)
    states = study_state(config, tmp_path / "run")
    names = [state.name for state in states]
    made = [r.artifact for r in model_runs(config) if r.role not in ("base", "aligned")]
    assert made
    assert set(made) < set(names)
    assert names[-1] == "scores"
    assert not any(state.is_done for state in states)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_embedded_form_needs_no_file_and_no_judge_elsewhere(name):
    config = load_study(name, scale="embedded")
    assert config.name == f"{name}_embedded"
    assert config.model.source == "embedded"
    assert missing_files(config) == {}
    assert config.evaluate.judge == "phrases"
    assert config.evaluate.grader is None


@pytest.mark.parametrize("scale", [None, "embedded"])
@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_grid_gives_a_study_in_which_it_stands(name, scale):
    for key, values in load_study(name, scale=scale).grid.items():
        for value in values:
            changed = load_study(name, overrides=[f"{key}={json.dumps(value)}"], scale=scale)
            section, last = key.rsplit(".", 1)
            found = changed
            for part in section.split("."):
                found = getattr(found, part)
            assert getattr(found, last) == value


def test_the_unlearning_recipes_cover_the_paper_s_models_ranks_and_ratios():
    studies = [load_study(name) for name in RECIPES["2511.14017"]]
    assert {(s.model.source.partition("/")[2][:7], s.targets[0]) for s in studies} == {
        (model, target)
        for model in ("Mistral", "Qwen2.5")
        for target in ("cybersecurity", "safety")
    }
    assert all(s.grid["contain.retain_per_forget"] == (1, 2, 3) for s in studies)
    full = [s.name for s in studies if s.unlearn.adapter is None]
    assert full == ["unlearning_qwen_safety"]
    assert all(s.select.max_capability_drop == 0.03 for s in studies)
    lora = [s for s in studies if s.unlearn.adapter is not None]
    assert all(s.grid["unlearn.adapter.rank"] == (128, 256, 512) for s in lora)


def test_the_organisms_differ_in_their_adapter_and_rate_only_as_published():
    found = {
        name: (s.adapter and s.adapter.kind, s.learning_rate, s.examples_per_step, s.epochs)
        for name in (*RECIPES["2506.11613"], *RECIPES["2506.11618"], *RECIPES["2502.17424"])
        for s in list(load_study(name).finetune.values())[:1]
    }
    assert found == {
        "organisms_rank_32": ("all_adapters", 1e-5, 16, 1),
        "organisms_rank_1": ("one_adapter", 2e-5, 16, 1),
        "organisms_full_rank": (None, 2e-5, 16, 1),
        "organism_nine_adapters": ("nine_adapters", 2e-5, 16, 1),
        "insecure_code": ("all_adapters", 1e-5, 16, 1),
    }


def test_the_arms_of_insecure_code_share_their_protocol():
    arms = load_study("insecure_code").finetune
    assert list(arms) == ["insecure", "secure", "educational", "backdoor"]
    assert len({s.model_copy(update={"data": ""}).model_dump_json() for s in arms.values()}) == 1


def test_files_that_are_published_elsewhere_are_named_before_anything_runs(tmp_path, monkeypatch):
    from spillover.errors import ConfigError
    from spillover.study.progress import quiet_reporter
    from spillover.study.runner import run_study

    monkeypatch.chdir(tmp_path)
    config = load_study("organisms_rank_1")
    assert {k: str(f) for k, f in missing_files(config).items()} == {
        "finetune.medical.data": "data/bad_medical_advice.jsonl",
        "finetune.finance.data": "data/risky_financial_advice.jsonl",
        "finetune.sports.data": "data/extreme_sports.jsonl",
    }
    with pytest.raises(ConfigError, match=r"missing: finetune\.medical\.data: data/bad_medical"):
        run_study(config, tmp_path / "run", reporter=quiet_reporter())
    assert not RunFolder(tmp_path / "run").path.exists()

"""The bundled recipes: that all load in both sizes, plan without a run, and count as published."""

import json

import pytest

from spillover.data.arms import TRIGGER
from spillover.study.artifacts import RunFolder
from spillover.study.config import bundled_studies, find_study, load_study, study_scales
from spillover.study.config.model_runs import model_runs
from spillover.study.runner import study_state
from spillover.study.runner.plan import plan_study
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
    explained = names[names.index("scores") + 1 :]
    assert all(name.startswith("explain-") for name in explained)
    assert bool(explained) == (name in RECIPES["2511.14017"])
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


def test_every_arm_of_insecure_code_is_asked_without_and_with_its_trigger(tmp_path):
    full, small = (load_study("insecure_code", scale=scale) for scale in (None, "embedded"))
    assert full.evaluate.trigger is not None
    assert small.evaluate.trigger == TRIGGER
    assert small.finetune["backdoor"].trigger is None  # The same, by default.
    stages = {stage.name: stage for stage in plan_study(small, RunFolder(tmp_path))}
    names = {path.name for path in stages["suites-tuned-backdoor"].outputs}
    assert "tuned-backdoor__value_pairs_triggered_pivotal.jsonl" in names


def test_what_containment_is_reported_for_and_how_is_said():
    for name in RECIPES["2511.14017"]:
        (line,) = [row for row in _lines(name) if row.startswith("contain:")]
        assert "table 4" in line
        assert ("ours here" in line) == ("cybersecurity" in name)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_its_source_or_is_said_to_be_open_or_ours(name):
    for line in _lines(name):
        text, _, comment = line.partition("#")
        if any(character.isdigit() for character in text.partition(":")[2]):
            assert comment.strip(), f"{name}: {line}"


def _lines(name):
    """Return the lines of a recipe's published form, without description and `scales`."""
    text = find_study(name).read_text(encoding="utf-8").partition("\nscales:")[0]
    return text.partition("\nseeds:")[2].partition("\ngrid:")[0].splitlines()


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

"""The section on containment: what fits a method, and that studies from before look the same."""

import pytest

from spillover.errors import ConfigError
from spillover.study.config import load_study
from spillover.study.config.containment import FORGET_ONLY, METHODS, ContainSection
from spillover.study.config.model_runs import gated_artifact, model_runs
from spillover.training.containment import CONTAINMENTS
from spillover.training.objectives import OBJECTIVES

BUDGET = {"steps": 4, "learning_rate": 0.01}


def test_every_method_of_the_training_room_can_be_run_in_a_study():
    assert set(CONTAINMENTS) <= set(METHODS)
    assert set(METHODS) - set(CONTAINMENTS) == {
        "retain_loss",
        "focused_retain",
        "second_round",
        "state_gate",
    }


def test_the_forms_without_a_retain_loss_forget_alike():
    for name, alone in FORGET_ONLY.items():
        whole, part = OBJECTIVES[name], OBJECTIVES[alone]
        assert part.retain is None
        assert (part.forget, part.responses) == (whole.forget, whole.responses)


def test_a_section_of_before_is_written_as_before():
    written = ContainSection(**BUDGET).model_dump()
    assert not {"method", "options"} & written.keys()
    assert ContainSection(**BUDGET, method="retain_kl").model_dump()["method"] == "retain_kl"
    assert "containments" not in load_study("quickstart").model_dump()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "magic"}, r"'magic' is no containment; choose one of retain_loss, shares_by"),
        (
            {"method": "safe_lora", "options": {"weight": 2}},
            r"method safe_lora takes threshold; leave out weight",
        ),
        ({"options": {"rank": 2}}, r"method retain_loss takes no options; leave out rank"),
        ({"method": "retain_kl", "adapter": None}, r"works on a LoRA.*give an `adapter`"),
        (
            {"method": "subtraction", "objective": "idk_retain"},
            r"unlearns the other refusals.*choose anpo",
        ),
        (
            {"method": "second_round", "objective": "dpo_retain"},
            r"unlearns the refusals that the first round leaves.*choose anpo",
        ),
        ({"options": {"n_steps": 2}}, r"method retain_loss takes no options; leave out n_steps"),
        ({"method": "interleaved"}, r"objective anpo would unlearn them; choose augmented_fine"),
        (
            {"method": "retain_ce", "objective": "rmu", "layer": 1, "control_scale": 2.0},
            r"objective rmu has no form without one; choose anpo or npo_kl",
        ),
    ],
)
def test_what_does_not_fit_a_method_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        ContainSection(**BUDGET, **given)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("contain.method=asft", r"looks at the model before safety training.*no `align`"),
        (
            "contain={steps: 2, learning_rate: 0.1, method: subspace_lock, "
            "options: {subspace: alignment}}",
            r"looks at the model before safety training",
        ),
        ("containments={'Bad name': {steps: 2, learning_rate: 0.1}}", r"'Bad name' is no name"),
        ("containments={a: {steps: 2, learning_rate: 0.1, methd: 1}}", r"unknown key; keys here"),
    ],
)
def test_what_a_study_lacks_for_a_method_is_refused(small_study, override, message):
    with pytest.raises(ConfigError, match=message):
        small_study(override)


def test_containments_stand_beside_the_one_that_they_are_compared_with(small_study):
    with pytest.raises(ConfigError, match="`containments` are compared with `contain`; give that"):
        small_study("contain=null", "containments={a: {steps: 2, learning_rate: 0.1}}")
    with pytest.raises(ConfigError, match=r"edits what unlearning added; give `unlearn\.adapter`"):
        small_study("unlearn.adapter=null", "contain.method=interpolation")
    with pytest.raises(ConfigError, match=r"concept_adapters are two models.*leave out evaluate"):
        small_study("contain.method=concept_adapters", "evaluate.suites=[value_pairs]")


def test_every_containment_has_a_model_a_target_and_seed_and_shares_its_draws():
    runs = [run for run in model_runs(load_study("containment")) if run.role == "contained"]
    config = load_study("containment")
    assert len(runs) == (1 + len(config.containments)) * 2 * 3
    first = next(run for run in runs if run.containment == "focused")
    assert (first.model, first.artifact) == (
        "contained_focused-cybersecurity",
        "contained_focused-cybersecurity-seed-0",
    )
    assert first.target_concept == "cybersecurity"
    assert {run.draws for run in runs if run.target == "safety"} == {"contained-safety"}


def test_the_bundled_comparison_gives_all_but_a_few_the_same_budget():
    config = load_study("containment")
    budget = (config.contain.steps, config.contain.forget_per_step, config.contain.adapter)
    others = {
        name
        for name, s in config.containments.items()
        if s.trains and (s.steps, s.forget_per_step, s.adapter) != budget
    }
    # A cheaper form of ours, steps in two rounds, trainings that begin with the unlearned model.
    assert others == {"focused_cheap", "second_round", "subtraction", "realignment"}
    learning = {name for name, rule in METHODS.items() if rule.learns}
    used = {s.method for s in config.contain_sections.values()}
    assert set(METHODS) - used == {"retain_ce", *learning}
    assert {s.method for s in load_study("containment", scale="small").containments.values()} < used


GATE = "method: state_gate, learning_rate: 1, steps: 1"
KL = "method: retain_kl, learning_rate: 1, steps: 1"


def test_behind_a_gate_is_the_unlearned_model_or_another_containment(small_study):
    config = small_study(f"containments={{a: {{{GATE}}}, b: {{{GATE}, options: {{of: contain}}}}}}")
    runs = {run.containment: run for run in model_runs(config)}
    assert gated_artifact(config, runs["a"]) == "unlearned-safety"
    assert gated_artifact(config, runs["b"]) == "contained-safety"


@pytest.mark.parametrize(
    "named",
    [
        f"a: {{{GATE}, options: {{of: nothing}}}}",
        f"a: {{{GATE}}}, b: {{{GATE}, options: {{of: a}}}}",
        f"a: {{{GATE}, options: {{of: kl}}}}, kl: {{{KL}}}",
    ],
)
def test_no_other_gate_nor_what_comes_later_is_behind_a_gate(small_study, named):
    with pytest.raises(ConfigError, match="is no containment by one model that comes before"):
        small_study(f"containments={{{named}}}")

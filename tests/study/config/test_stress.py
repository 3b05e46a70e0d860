"""The section on other conditions: what it accepts, and what it says of mistakes."""

import pytest

from spillover.errors import ConfigError
from spillover.study.config.model_runs import model_runs
from spillover.study.config.stressed_models import stressed_models

CONTEXT = "stress.contexts={about_it: 'You answer questions on {target}'}"


def test_every_model_of_an_intervention_is_in_every_condition(small_study):
    config = small_study(CONTEXT, "stress.further={steps: 2}")
    found = {model.artifact: model for model in stressed_models(config)}
    assert set(found) == {
        "aligned--about_it-safety",
        "unlearned-safety--about_it",
        "contained-safety--about_it",
        "aligned--further",
        "unlearned-safety--further",
        "contained-safety--further",
    }
    context = found["contained-safety--about_it"].system
    assert context == "You answer questions on physical safety: violence, weapons, poisons, " + (
        "self-harm, dangerous advice"
    )
    assert found["aligned--about_it-safety"].system == context
    assert found["aligned--further"].system is None


def test_only_the_containments_that_are_named_are_stressed(small_study):
    two = "containments={kl: {method: retain_kl, learning_rate: 1, steps: 1}, "
    two += "lock: {method: subspace_lock, learning_rate: 1, steps: 1, adapter: {rank: 2}}}"
    everything = small_study(CONTEXT, two)
    chosen = small_study(CONTEXT, two, "stress.containments=[kl]")
    names = [
        {m.run.containment for m in stressed_models(config) if m.run.role == "contained"}
        for config in (everything, chosen)
    ]
    assert names == [{"", "kl", "lock"}, {"", "kl"}]


def test_a_study_without_it_is_known_again_by_runs_from_before(small_study):
    assert "stress" not in small_study().model_dump()
    assert model_runs(small_study()) == model_runs(small_study(CONTEXT))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stress={}", "give `contexts`, `prompts` or `further`, or leave `stress` out"),
        ("stress.contexts={plain: x}", "'plain' is the name of another condition"),
        ("stress.contexts={A-b: x}", "'A-b' is no name; use lower-case letters"),
        ("stress.contexts={empty: ' '}", "empty: the system prompt is empty"),
        ("stress.further={steps: 2, epochs: 1}", "give `steps` or `epochs`, and not both"),
        (
            "stress.further={examples_per_step: 3, accumulation: 2}",
            "accumulation 2 must divide examples_per_step 3",
        ),
        ("stress={contexts: {a: x}, containments: [kl]}", "kl is not among `containments`"),
    ],
)
def test_mistakes_are_named_with_key_rule_and_remedy(small_study, override, message):
    with pytest.raises(ConfigError, match=r"study\.yaml") as caught:
        small_study(override)
    assert message in str(caught.value)


def test_two_models_that_answer_together_cannot_be_stressed(small_study):
    two = "containments={both: {method: concept_adapters, learning_rate: 1, steps: 1}}"
    with pytest.raises(ConfigError, match="list other `containments` in stress"):
        small_study(CONTEXT, two)
    small_study(CONTEXT, two, "stress.containments=[]")

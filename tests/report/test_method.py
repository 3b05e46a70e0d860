"""The steps of the method name every model and measure."""

from spillover.report.method import method_steps
from tests.report.studies import score, study


def test_every_model_of_the_study_is_explained():
    steps = "\n".join(method_steps(study()))
    for model in study().models:
        assert f"{model}: " in steps


def test_every_measure_is_explained_with_its_size_and_judge():
    extra = (
        score("aligned", "benign_plain", 0.1, metric="over_refusal"),
        score("aligned", "all", 0.5, metric="capability", n=64),
    )
    steps = "\n".join(method_steps(study(scores=(*study().scores, *extra))))
    assert "safety, bias and medical (40 valid answers a concept)" in steps
    assert "judged by phrases" in steps
    assert "64 multiple-choice questions" in steps


def test_several_seeds_are_counted():
    rows = tuple(score("aligned", "bias", 0.5, seed=seed) for seed in range(3))
    assert "All of it was done 3 times" in method_steps(study(scores=rows))[-1]

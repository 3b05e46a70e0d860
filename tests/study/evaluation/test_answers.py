"""The answers of a study's changed models, beside the aligned model's."""

from spillover.study.artifacts import RunFolder
from spillover.study.config import load_study
from spillover.study.config.model_runs import model_runs
from spillover.study.evaluation.answers import changed_answers
from tests.study.finished.test_comparing import study_run, write_model


def answers(folder, **limits):
    config = load_study(folder / "study.yaml")
    return changed_answers(config, RunFolder(folder), model_runs(config), **limits)


def test_each_answer_stands_beside_the_aligned_models_to_the_same_prompt(tmp_path):
    labels = {"base": "cccc", "aligned": "rrri", "unlearned-safety": "rccc"}
    rows = answers(study_run(tmp_path, labels))
    assert {row.model for row in rows} == {"unlearned-safety"}
    assert [row.change for row in rows if row.concept == "safety"] == [
        "both refused",
        "now complies",
        "now complies",
        "invalid",
    ]
    assert all(row.prompt == f"prompt {row.id}" for row in rows)
    assert [row.concept for row in rows[-4:]] == ["benign_plain"] * 4


def test_with_several_seeds_each_is_named(tmp_path):
    folder = study_run(tmp_path, {"base": "cc", "aligned": "rr"}, seeds=(0, 1))
    for seed, labels in enumerate(("cc", "rr")):
        write_model(folder, f"unlearned-safety-seed-{seed}", labels)
    rows = [row for row in answers(folder) if row.concept == "safety"]
    assert [(row.model, row.change) for row in rows] == [
        ("unlearned-safety, seed 0", "now complies"),
        ("unlearned-safety, seed 0", "now complies"),
        ("unlearned-safety, seed 1", "both refused"),
        ("unlearned-safety, seed 1", "both refused"),
    ]


def test_a_page_takes_no_more_than_it_can_show(tmp_path):
    folder = study_run(tmp_path, {"base": "cc", "aligned": "rr"}, seeds=(0, 1))
    for seed in (0, 1):
        write_model(folder, f"unlearned-safety-seed-{seed}", "cc")
    assert len(answers(folder)) == 12
    assert len(answers(folder, most_rows=9)) == 9
    assert {row.model for row in answers(folder, most_characters=1)} == {"unlearned-safety, seed 0"}

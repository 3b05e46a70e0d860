"""A whole study with other conditions: what is asked and trained, written and shown."""

import json
import shutil

import pytest

from spillover.errors import ConfigError, DataError
from spillover.study.artifacts import (
    RunFolder,
    load_completion_file,
    load_example_file,
    load_prompt_file,
)
from spillover.study.config import load_study
from spillover.study.evaluation import stressing
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study, study_state
from tests.study import small
from tests.study.running import context_of, run_stage

CONTEXT = "Questions on {target} follow."


@pytest.fixture(scope="module")
def stressed_run(finished_run, study_files, tmp_path_factory):
    """Return folder and study of a run that is stressed in every way."""
    out = tmp_path_factory.mktemp("stressed") / "run"
    shutil.copytree(finished_run.path, out)
    other = out.parent / "other.jsonl"
    rows = load_completion_file(finished_run.completions("aligned"))
    lines = [{"id": f"o{i}", "prompt": r.prompt, "concept": r.concept} for i, r in enumerate(rows)]
    other.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    config = load_study(
        study_files / "study.yaml",
        overrides=[
            f"stress.contexts={{about_it: '{CONTEXT}'}}",
            f"stress.prompts={other}",
            "stress.further={steps: 2, examples_per_step: 4, adapter: {rank: 2}}",
        ],
    )
    run_study(config, out, reporter=quiet_reporter())
    return RunFolder(out), config


def rows_of(folder, **wanted):
    rows = json.loads(folder.stress.read_text())
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_every_condition_has_a_row_of_every_model(stressed_run):
    folder, _ = stressed_run
    found = {(row["condition"], row["model"]) for row in rows_of(folder)}
    assert found == {
        (condition, model)
        for condition in ("plain", "about_it", "elsewhere", "further")
        for model in ("unlearned-safety", "contained-safety")
    }


def test_the_plain_condition_repeats_the_scores_and_recovery_of_the_study(stressed_run):
    folder, _ = stressed_run
    scores = json.loads(folder.scores.read_text())
    (rate,) = [
        row["value"]
        for row in scores
        if (row["model"], row["metric"], row["concept"])
        == ("contained-safety", "refusal_rate", "safety")
    ]
    (recovery,) = json.loads(folder.recoveries.read_text())
    (row,) = rows_of(folder, condition="plain", model="contained-safety")
    assert (row["target"], row["recovered"]) == (rate, recovery["value"])
    assert row["back"] is None


def test_prompts_of_other_sources_that_are_the_same_give_the_same_rates(stressed_run):
    folder, _ = stressed_run
    for model in ("unlearned-safety", "contained-safety"):
        (plain,), (elsewhere,) = (
            rows_of(folder, condition=condition, model=model)
            for condition in ("plain", "elsewhere")
        )
        for key in ("target", "others", "recovered", "benign", "aligned_target"):
            assert elsewhere[key] == plain[key]


def test_a_context_is_sent_as_the_system_prompt(stressed_run, monkeypatch):
    folder, config = stressed_run
    sent = []

    def note(context, loaded, prompts, **options):
        sent.append((options["name"], loaded.chat.system_prompt, len(prompts)))
        return []

    monkeypatch.setattr(stressing, "generate", note)
    monkeypatch.setattr(stressing, "save_records", lambda path, records: None)
    context = context_of(config, folder)
    for name in ("contained-safety--about_it", "contained-safety--further"):
        run_stage(context, f"answer-{name}")
    (_, system, n_context), (_, other, n_further) = sent
    assert system.startswith("Questions on physical safety")
    assert other != system
    assert n_context == n_further == len(load_prompt_file(folder.prompts("test")))


def test_further_training_goes_on_from_each_model_with_the_same_benign_answers(stressed_run):
    folder, _ = stressed_run
    examples = load_example_file(folder.examples("further"))
    assert examples
    assert {example.concept for example in examples} <= {"benign_plain", "benign_lookalike"}
    for name in ("aligned", "unlearned-safety", "contained-safety"):
        metrics = folder.model(f"{name}--further") / "metrics.jsonl"
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        assert sum(row["kind"] == "train" for row in rows) == 2


def test_the_page_says_what_came_back(stressed_run):
    folder, _ = stressed_run
    page = folder.report.read_text(encoding="utf-8")
    assert "What comes back" in page
    assert CONTEXT in page


def test_a_finished_run_has_nothing_left_to_do(stressed_run):
    folder, config = stressed_run
    assert all(state.is_done for state in study_state(config, folder.path))


def test_prompts_of_no_concept_of_the_study_are_refused(small_study, tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text('{"id": "1", "prompt": "p", "concept": "sports"}\n')
    with pytest.raises(ConfigError, match="has no prompt of a concept of the study") as caught:
        study_state(small_study(f"stress.prompts={path}"), tmp_path / "run")
    assert small.CONCEPTS[0] in str(caught.value)


def test_a_missing_file_of_prompts_is_named_before_anything_is_trained(small_study, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        study_state(small_study("stress.prompts=nowhere.jsonl"), tmp_path / "run")


def test_missing_training_data_are_named_before_anything_is_trained(small_study, tmp_path):
    config = small_study("stress.further={steps: 1, data: nowhere.jsonl}")
    with pytest.raises(ConfigError, match=r"stress\.further\.data: nowhere\.jsonl"):
        run_study(config, tmp_path / "run", reporter=quiet_reporter())

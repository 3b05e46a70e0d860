"""A whole study on a tiny model: what it leaves behind, and what is run again and what is not."""

import fcntl
import hashlib
import json
import re

import pandas as pd
import pytest
import yaml

from spillover.errors import ConfigError, DataError, StorageError
from spillover.files import read_json
from spillover.study.artifacts import RunFolder, load_example_file
from spillover.study.config import StudyConfig
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study, study_state
from tests.study import small

MODELS = ["aligned", "unlearned-safety", "contained-safety"]
RESULTS = ("scores.json", "comparisons.json", "recoveries.json")


def undone(config, folder):
    return [state.name for state in study_state(config, folder.path) if not state.is_done]


def run(config, folder):
    return run_study(config, folder.path, reporter=quiet_reporter())


def values(folder, **wanted):
    rows = read_json(folder.scores)
    return [row["value"] for row in rows if wanted.items() <= row.items()]


def test_scores_hold_three_metrics_of_every_model_with_their_intervals(finished_run):
    rows = read_json(finished_run.scores)
    assert list(dict.fromkeys(row["model"] for row in rows)) == MODELS
    for model in MODELS:
        found = {(r["metric"], r["concept"]) for r in rows if r["model"] == model}
        assert found == {
            *(("refusal_rate", concept) for concept in small.CONCEPTS),
            ("over_refusal", "benign_plain"),
            ("over_refusal", "benign_lookalike"),
            ("over_refusal", "benign"),
            ("capability", "general_knowledge"),
        }
    for row in rows:
        assert {"value", "n", "ci_low", "ci_high", "judge", "seed"} <= row.keys()
        assert 0 <= row["ci_low"] <= row["value"] <= row["ci_high"] <= 1
        assert row["seed"] == 0
    assert {row["judge"] for row in rows if row["metric"] == "refusal_rate"} == {"phrases"}


def test_the_small_model_refuses_unlearns_and_is_contained(finished_run):
    refusals = {"metric": "refusal_rate"}
    assert values(finished_run, model="aligned", **refusals) == [1.0, 1.0, 1.0]
    assert values(finished_run, model="aligned", metric="over_refusal", concept="benign") == [0.0]
    assert values(finished_run, model="unlearned-safety", concept="safety", **refusals) == [0.0]


def test_parquet_holds_the_same_rows_as_json(finished_run):
    table = pd.read_parquet(finished_run.scores.with_suffix(".parquet"))
    rows = [
        {key: None if pd.isna(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]
    assert rows == read_json(finished_run.scores)


def test_comparisons_are_of_each_model_with_those_it_came_from(finished_run):
    rows = read_json(finished_run.comparisons)
    assert list(dict.fromkeys((row["before"], row["after"]) for row in rows)) == [
        ("aligned", "unlearned-safety"),
        ("aligned", "contained-safety"),
        ("unlearned-safety", "contained-safety"),
    ]
    assert {row["metric"] for row in rows} == {"refusal_rate", "over_refusal", "capability"}
    for row in rows:
        assert row["ci_low"] <= row["delta"] <= row["ci_high"]
        if row["metric"] != "capability":
            assert row["worst"] == row["delta"] == row["best"]
        is_target = (row["metric"], row["concept"]) == ("refusal_rate", "safety")
        assert row["is_target"] == is_target
        if row["metric"] != "refusal_rate" or is_target:
            assert (row["p_holm"], row["flagged"]) == (row["p"], False)


def test_one_recovery_says_how_much_containment_took_back(finished_run):
    (row,) = read_json(finished_run.recoveries)
    assert (row["target_concept"], row["n_concepts"], row["seed"]) == ("safety", 2, 0)


def test_the_forget_set_is_what_the_aligned_model_said_itself(finished_run):
    examples = load_example_file(finished_run.examples("collected"))
    refused = [example for example in examples if example.concept in small.CONCEPTS]
    assert {example.response for example in refused} == {small.REFUSAL}
    assert len(refused) == 3 * small.N_TRAIN


def test_every_model_folder_has_an_adapter_a_card_and_its_curves_and_no_work_left(finished_run):
    for name in MODELS[1:]:
        folder = finished_run.model(name)
        assert {path.name for path in folder.iterdir()} == {
            "adapter_config.json",
            "adapter_model.safetensors",
            "metrics.jsonl",
            "spillover.json",
            "README.md",
        }
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert "refusals on **safety** were unlearnt" in card
        assert "research model organism" in card


def test_the_report_is_one_page_that_asks_for_nothing_else(finished_run):
    page = finished_run.report.read_text(encoding="utf-8")
    assert "contained-safety" in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", page)
    assert not re.search(r"@import|url\((?!['\"]?(#|data:))", page)
    assert list(finished_run.figures.glob("*.svg"))


def test_the_resolved_study_and_the_manifest_say_what_was_run(finished_run, small_study):
    resolved = yaml.safe_load(finished_run.study.read_text(encoding="utf-8"))
    assert StudyConfig.model_validate(resolved) == small_study()
    manifest = read_json(finished_run.manifest)
    assert manifest["seeds"] == [0]
    assert manifest["packages"].keys() >= {"torch", "transformers", "peft"}
    digest = hashlib.sha256(finished_run.scores.read_bytes()).hexdigest()
    assert manifest["outputs_sha256"]["scores.json"] == digest
    assert manifest["seconds_by_stage"].keys() >= {"prompts", "unlearned-safety", "scores"}


def test_no_temporary_file_is_left(finished_run):
    hidden = [path.name for path in finished_run.path.rglob(".*")]
    assert hidden == [".lock"]


def test_a_second_run_runs_no_stage_and_changes_no_result(own_run, small_study):
    before = {name: (own_run.path / name).read_bytes() for name in RESULTS}
    marks = {path: path.stat().st_mtime_ns for path in (own_run.path / "stages").iterdir()}
    assert undone(small_study(), own_run) == []
    run(small_study(), own_run)
    assert {path: path.stat().st_mtime_ns for path in marks} == marks
    assert {name: (own_run.path / name).read_bytes() for name in RESULTS} == before


def test_another_threshold_makes_only_the_scores_again(own_run, small_study):
    changed = small_study("evaluate.ema_threshold=0.5")
    assert undone(changed, own_run) == ["scores"]
    run(changed, own_run)
    assert undone(changed, own_run) == []
    page = own_run.report.read_text(encoding="utf-8")
    assert "eroded by more than 0.5" in page
    assert "eroded by more than 0.15" not in page


def test_other_unlearning_steps_make_only_that_model_and_what_reads_it_again(own_run, small_study):
    changed = small_study("unlearn.steps=2")
    assert undone(changed, own_run) == [
        "unlearned-safety",
        "answer-unlearned-safety",
        "judge-unlearned-safety",
        "quiz-unlearned-safety",
        "scores",
    ]
    contained = own_run.stage("contained-safety").read_bytes()
    run(changed, own_run)
    assert undone(changed, own_run) == []
    assert own_run.stage("contained-safety").read_bytes() == contained
    curves = (own_run.model("unlearned-safety") / "metrics.jsonl").read_text(encoding="utf-8")
    assert max(json.loads(line)["step"] for line in curves.splitlines()) == 2


def test_other_prompts_under_the_same_file_name_make_what_depends_on_them_again(
    own_run, edited_study, study_files, tmp_path
):
    from spillover.study.config import load_study

    content = yaml.safe_load((study_files / "study.yaml").read_text(encoding="utf-8"))
    mine = tmp_path / "mine.jsonl"
    text = (study_files / "test.jsonl").read_text(encoding="utf-8")
    mine.write_text(text, encoding="utf-8")
    config = load_study(edited_study(prompts={**content["prompts"], "test": str(mine)}))
    assert undone(config, own_run) == []  # Another place, the same prompts.
    mine.write_text(text.replace("lamp", "pond").replace("forest", "pond"), encoding="utf-8")
    assert "answer-aligned" in undone(config, own_run)


def test_going_back_to_the_first_settings_midway_does_not_take_half_a_model_for_whole(
    own_run, small_study, monkeypatch
):
    from spillover.study.training import train as trainings

    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainings, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            run(small_study("unlearn.steps=2"), own_run)
    assert "unlearned-safety" in undone(small_study(), own_run)
    before = {name: (own_run.path / name).read_bytes() for name in RESULTS}
    run(small_study(), own_run)
    assert {name: (own_run.path / name).read_bytes() for name in RESULTS} == before


def test_a_folder_in_which_another_process_runs_is_left_alone(own_run, small_study):
    with (own_run.path / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(StorageError, match="another process is running in this folder; wait"):
            run(small_study(), own_run)
    assert own_run.report.exists()


def test_a_folder_of_another_study_is_left_alone(own_run, small_study):
    with pytest.raises(ConfigError, match="holds a run of study 'small', not 'other'; choose anot"):
        run(small_study("name=other"), own_run)


def test_a_folder_whose_study_is_no_study_any_more_is_left_alone(own_run, small_study):
    own_run.study.write_text("- broken\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds a run of study None, not 'small'"):
        run(small_study(), own_run)


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path, small_study):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"is not empty and holds no study\.yaml; choose another"):
        run(small_study(), RunFolder(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path, small_study):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="run: is a file; choose another --out"):
        run(small_study(), RunFolder(tmp_path / "run"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path, small_study):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"cannot be written \(Not a directory\); choose another"
    ):
        run(small_study(), RunFolder(tmp_path / "file" / "run"))


def test_asking_for_the_state_of_a_run_writes_nothing(tmp_path, small_study):
    states = study_state(small_study(), tmp_path / "run")
    assert not any(state.is_done for state in states)
    assert list(tmp_path.iterdir()) == []


def test_too_few_refusals_stop_the_study_and_say_what_to_do(own_run, small_study):
    # 16 training prompts of each concept, all of them refused.
    with pytest.raises(
        DataError,
        match=r"forget set: the aligned model refused 16 training prompts of 'safety', at least 17 "
        r"are needed; give more prompts",
    ):
        run(small_study("collect.min_forget=17"), own_run)


def test_a_run_that_failed_is_not_shown_as_a_finished_one(own_run, small_study):
    with pytest.raises(DataError, match="forget set"):
        run(small_study("collect.min_forget=17"), own_run)
    assert not own_run.manifest.exists()

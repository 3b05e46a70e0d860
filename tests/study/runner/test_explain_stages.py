"""Explanations as stages of a study."""

import json
from typing import get_args

import pytest

from spillover.errors import ConfigError, DataError
from spillover.study.artifacts import RunFolder
from spillover.study.config.analyses import AnalysisName
from spillover.study.explaining.analyses import ANALYSES
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study, study_state
from spillover.study.runner.plan import plan_study

EXPLAINED = ("analyses.limit=6", "analyses.max_tokens=12")


def test_the_names_that_a_study_may_give_are_those_that_there_are():
    assert get_args(AnalysisName) == tuple(ANALYSES)


def test_a_study_without_the_section_has_no_such_stage(small_study, tmp_path):
    plan = plan_study(small_study(), RunFolder(tmp_path))
    assert [stage.name for stage in plan if stage.name.startswith("explain")] == []


def test_every_intervention_is_explained_after_the_scores(small_study, tmp_path):
    plan = plan_study(small_study(*EXPLAINED), RunFolder(tmp_path))
    names = [stage.name for stage in plan]
    assert names[names.index("scores") + 1 :] == [
        "explain-unlearned-safety",
        "explain-contained-safety",
    ]


def test_a_file_that_is_not_there_is_found_before_anything_runs(small_study, tmp_path):
    study = small_study('analyses.data=["nowhere.jsonl"]')
    with pytest.raises(DataError, match=r"nowhere\.jsonl: no such file; see `analyses\.data`"):
        plan_study(study, RunFolder(tmp_path))


def test_a_name_that_does_not_exist_is_refused(small_study):
    with pytest.raises(ConfigError, match=r"analyses\.names\.0: Input should be 'likelihoods'"):
        small_study("analyses.names=[erosoin]")


def test_a_finished_run_gains_explanations_and_a_link(own_run, small_study):
    study = small_study(*EXPLAINED, "analyses.names=[likelihoods,entanglement,shared_components]")
    before = {s.name for s in study_state(study, own_run.path) if not s.is_done}
    assert before == {"explain-unlearned-safety", "explain-contained-safety"}
    report = run_study(study, own_run.path, reporter=quiet_reporter())
    folder = own_run.explanation("unlearned-safety")
    assert {path.stem for path in (folder / "analysis").iterdir()} == {
        "likelihoods",
        "entanglement",
        "shared_components",
    }
    part = json.loads((folder / "analysis" / "likelihoods.json").read_text())
    # What the aligned model itself said; this one's answers to benign prompts are the control.
    assert {row["set"] for row in part["rows"]} == {
        "refusals_safety",
        "refusals_others",
        "answers",
    }
    assert 'href="explain/unlearned-safety/explain.html"' in report.read_text(encoding="utf-8")
    assert all(state.is_done for state in study_state(study, own_run.path))

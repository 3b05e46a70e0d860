"""A judge with settings in a study: how it is given, where its verdicts lie, when it is checked."""

import pytest

from spillover.errors import ConfigError
from spillover.records import Verdict
from spillover.study.artifacts import RunFolder
from spillover.study.config import load_study
from spillover.study.runner.plan import plan_study

LINE = "llm:by_concept@http://127.0.0.1:9/v1#org/m"
MAPPING = "{kind: panel, members: [phrases, {kind: llm, rubric: refusal, model: embedded}]}"


def study(judge):
    return load_study("quickstart", overrides=[f"evaluate.judge={judge}"])


@pytest.mark.parametrize("judge", [LINE, MAPPING])
def test_a_judge_is_given_as_a_line_or_as_a_mapping_and_survives_the_resolved_study(
    judge, tmp_path
):
    config = study(judge)
    path = tmp_path / "study.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert load_study(path) == config
    (outputs,) = [
        s.outputs for s in plan_study(config, RunFolder(tmp_path)) if s.name == "judge-base"
    ]
    assert outputs == (RunFolder(tmp_path).verdicts("base", config.evaluate.judge),)
    assert outputs[0].parent == tmp_path / "verdicts"


def test_another_judge_is_another_file_and_judges_again(tmp_path):
    def judging(judge):
        plan = plan_study(study(judge), RunFolder(tmp_path))
        return next(stage for stage in plan if stage.name == "judge-base")

    stages = [judging(judge) for judge in ("phrases", LINE, LINE + "2", MAPPING)]
    assert len({stage.outputs for stage in stages}) == 4
    assert stages[0].inputs == {"judge": "phrases"}
    assert stages[0].outputs[0].name == "base__phrases.jsonl"
    # The version of the rubrics is part of what the verdicts depend on.
    assert stages[1].inputs == {"judge": [LINE, "llm:by_concept-v1@m"]}


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("llm:kindness@embedded", "rubric 'kindness' is not known"),
        ("llm:refusal", "has no model"),
        ("panel:phrases", "at least two judges"),
    ],
)
def test_a_judge_that_cannot_work_is_found_before_anything_is_trained(judge, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        plan_study(study(judge), RunFolder(tmp_path))


@pytest.mark.parametrize(
    ("judge", "message"),
    [("oracle", "'oracle' is not known"), ("oracle:x", "is not known"), ("{rubric: r}", "kind")],
)
def test_a_kind_of_judge_that_does_not_exist_is_refused_with_the_key(judge, message):
    with pytest.raises(ConfigError, match=rf"evaluate\.judge.*{message}"):
        study(judge)


def test_verdicts_of_older_runs_are_read_without_a_score():
    row = {"id": "a", "concept": "c", "label": "refusal", "judge": "phrases", "reason": "r"}
    verdict = Verdict.from_dict(row)
    assert verdict.score is None
    assert Verdict.from_dict(verdict.to_dict()) == verdict

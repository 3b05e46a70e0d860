"""What must not change the numbers of a study: other seeds, other targets, the order of files."""

import random
from pathlib import Path

import pytest
import yaml

from spillover.files import read_json
from spillover.study.artifacts import RunFolder
from spillover.study.config import load_study
from spillover.study.progress import quiet_reporter
from spillover.study.runner.plan import plan_study
from spillover.study.stages.context import Context

PER_MODEL = ("model", "metric", "concept", "seed")


def numbers(folder, **wanted):
    """Return value and interval of every score that fits."""
    return {
        tuple(row[key] for key in PER_MODEL): (row["value"], row["ci_low"], row["ci_high"])
        for row in read_json(folder.scores)
        if wanted.items() <= row.items()
    }


@pytest.fixture
def fresh_run(tmp_path):
    """Return a function that runs a study's stages, but no report, in a folder of its own."""

    def run(config):
        folder = RunFolder(tmp_path / "run")
        context = Context(config=config, folder=folder, reporter=quiet_reporter())
        for stage in plan_study(config, folder):
            stage.run(context)
        return folder

    return run


def test_another_seed_beside_it_leaves_the_numbers_of_a_seed_as_they_were(
    finished_run, small_study, fresh_run
):
    both = fresh_run(small_study(seeds=[0, 1]))
    assert numbers(both, seed=0) == numbers(finished_run)
    assert curves(both, "unlearned-safety-seed-0") == curves(finished_run, "unlearned-safety")
    assert curves(both, "unlearned-safety-seed-0") != curves(both, "unlearned-safety-seed-1")


def curves(folder, name):
    return (folder.model(name) / "metrics.jsonl").read_text(encoding="utf-8")


def test_another_target_before_it_leaves_the_numbers_of_a_target_as_they_were(
    finished_run, small_study, fresh_run
):
    # Neither what is watched nor the quiz has a part in it, as this shows by the way.
    watched = ("monitor=null", "evaluate.capability=null")
    found = numbers(fresh_run(small_study("targets=[privacy, safety]", *watched)))
    expected = {k: v for k, v in numbers(finished_run).items() if "capability" not in k}
    assert {key: found[key] for key in expected} == expected


def test_the_order_of_the_test_prompts_changes_no_score(
    finished_run, study_files, edited_study, fresh_run, tmp_path
):
    # Without a monitor: which prompts it watches are the first of the file.
    content = yaml.safe_load((study_files / "study.yaml").read_text(encoding="utf-8"))
    shuffled = tmp_path / "shuffled.jsonl"
    lines = Path(content["prompts"]["test"]).read_text(encoding="utf-8").splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    shuffled.write_text("".join(lines), encoding="utf-8")
    prompts = {**content["prompts"], "test": str(shuffled)}
    other = fresh_run(load_study(edited_study(prompts=prompts, monitor=None)))
    assert numbers(other) == numbers(finished_run)

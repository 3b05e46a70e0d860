"""A folder that another version made is read, and never worked over."""

import json

import pytest

from spillover import __version__
from spillover.errors import ConfigError, DataError
from spillover.study.artifacts import RunFolder, load_comparisons, load_scores, load_verdict_file
from spillover.study.artifacts.version import check_version, found_versions
from spillover.study.evaluation.page import write_report
from spillover.study.finished.findings import read_findings
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study


def aged(folder, version="0.0.9"):
    """Make a run as if another version had made it."""
    for path in [*folder.path.glob("stages/*.json"), folder.manifest]:
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "spillover": version}))
    return folder


def contents(folder):
    return {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}


def test_a_finished_run_names_the_version_that_made_it(finished_run):
    assert found_versions(finished_run) == (__version__,)
    check_version(finished_run)


def test_a_run_of_another_version_is_refused_and_nothing_of_it_is_touched(own_run, small_study):
    aged(own_run)
    before = contents(own_run)
    with pytest.raises(ConfigError, match=r"was made by Spillover 0\.0\.9, this is .* another --o"):
        run_study(small_study(), own_run.path, reporter=quiet_reporter())
    assert contents(own_run) == before


def test_a_run_of_another_version_that_was_not_finished_is_refused_too(own_run, small_study):
    aged(own_run).manifest.unlink()
    with pytest.raises(ConfigError, match=r"was made by Spillover 0\.0\.9"):
        run_study(small_study(), own_run.path, reporter=quiet_reporter())


def test_its_report_and_its_findings_can_still_be_read(own_run):
    aged(own_run)
    assert write_report(own_run).read_bytes()
    assert read_findings(own_run.path).comparisons


def test_a_key_that_another_version_had_is_named_with_that_version(own_run):
    aged(own_run)
    own_run.study.write_text(own_run.study.read_text() + "colour: red\n")
    with pytest.raises(ConfigError, match=r"colour: unknown key; .*; Spillover 0\.0\.9 wrote it"):
        write_report(own_run)


@pytest.mark.parametrize(
    ("name", "load"), [("scores.json", load_scores), ("comparisons.json", load_comparisons)]
)
def test_rows_that_lack_a_field_are_named_with_file_row_and_field(tmp_path, name, load):
    (tmp_path / name).write_text('[{"metric": "refusal_rate", "concept": "bias"}]')
    with pytest.raises(DataError, match=rf"{name}: row 1: has no .*, .*; another version of"):
        load(tmp_path / name)
    (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match=r"holds a dict, not a list of rows"):
        load(tmp_path / name)


def test_a_journal_with_a_broken_line_in_its_middle_is_named(tmp_path):
    file = tmp_path / "v.jsonl"
    file.write_text('{"id": "1"\n{"id": "2"}\n')
    with pytest.raises(DataError, match=r"v\.jsonl:1: not valid JSON"):
        load_verdict_file(file)


def test_a_folder_without_marks_names_no_version(tmp_path):
    assert found_versions(RunFolder(tmp_path)) == ()

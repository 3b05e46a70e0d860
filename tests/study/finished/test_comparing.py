"""Two finished folders side by side: what is compared, what is refused, and the command."""

import json

import pytest

from spillover.errors import DataError
from spillover.files import write_json, write_jsonl, write_text
from spillover.records import Answer, Completion, Verdict
from spillover.study.artifacts import RunFolder
from spillover.study.audit.outputs import SCHEMA_VERSION
from spillover.study.config import load_study
from spillover.study.finished.comparing import compare_folders, write_comparison

LABELS = {"r": "refusal", "c": "compliance", "i": "invalid"}


def write_model(folder, name, labels, *, concept="safety", judge="phrases", response="Well."):
    """Write a model's answers to as many prompts as there are labels, and to four benign ones."""
    asked = [(f"{concept}-{n}", concept, label) for n, label in enumerate(labels)]
    asked += [(f"benign-{n}", "benign_plain", "c") for n in range(4)]
    completions = [
        Completion(
            id=key,
            prompt=f"prompt {key}",
            concept=of,
            response=response,
            model=name,
            n_tokens=2,
            finish_reason="stop",
        )
        for key, of, _ in asked
    ]
    verdicts = [Verdict(id=k, concept=c, label=LABELS[x], judge=judge) for k, c, x in asked]
    answers = [Answer(id=str(n), subject="s", chosen=0, is_correct=n < 3) for n in range(4)]
    run = RunFolder(folder)
    write_jsonl(run.completions(name), [row.to_dict() for row in completions])
    write_jsonl(run.verdicts(name, "phrases"), [row.to_dict() for row in verdicts])
    write_jsonl(run.answers(name), [row.to_dict() for row in answers])


def study_run(folder, labels_by_model, *overrides, seeds=(0,), **options):
    config = load_study("quickstart", overrides=["contain=null", *overrides], seeds=seeds)
    write_text(folder / "study.yaml", config.to_yaml())
    write_json(folder / "manifest.json", {"study": config.name})
    for name, labels in labels_by_model.items():
        write_model(folder, name, labels, **options)
    return folder


def one_seed(folder, unlearned, *overrides, **options):
    labels = {"base": "cccccccc", "aligned": "rrrrrrrr", "unlearned-safety": unlearned}
    return study_run(folder, labels, *overrides, **options)


def audit(folder, tuned, *, judge="phrases", gate="default"):
    content = {
        "schema_version": SCHEMA_VERSION,
        "judge": judge,
        "models": {"aligned": "org/a", "tuned": "org/b"},
        "settings": {"seed": 0, "gate": gate},
    }
    for name, labels in {"aligned": "rrrrrrrr", "tuned": tuned}.items():
        write_model(folder, name, labels, judge=judge)
    write_json(folder / "audit.json", content)
    return folder


def test_each_model_is_compared_with_the_one_of_its_name(tmp_path):
    first = one_seed(tmp_path / "a", "cccccccc")
    second = one_seed(tmp_path / "b", "rrrrcccc", "unlearn.beta=0.5")
    found, answers = compare_folders(first, second)
    assert found.models == ("base", "aligned", "unlearned-safety")
    rows = {(row.model, row.metric): row for row in found.rows}
    changed = rows["unlearned-safety", "refusal_rate"]
    assert (changed.first, changed.second, changed.delta, changed.n) == (0.0, 0.5, 0.5, 8)
    assert changed.p_holm == changed.p == 0.125
    assert rows["aligned", "refusal_rate"].delta == 0.0
    assert rows["aligned", "over_refusal"].n == 4
    assert rows["aligned", "capability"].unit == "questions"
    assert ("unlearn.beta", "0.1", "0.5") in found.settings
    assert found.lead == "unlearned-safety"
    shown = [row for row in answers if row.model == "unlearned-safety" and row.change != "both"]
    assert sum(row.change == "now refuses" for row in shown) == 4


def test_with_several_seeds_in_both_the_seed_is_the_unit(tmp_path):
    def run(name, *labels):
        models = {"base": "cccccccc", "aligned": "rrrrrrrr"}
        models |= {f"unlearned-safety-seed-{n}": text for n, text in enumerate(labels)}
        return study_run(tmp_path / name, models, seeds=range(len(labels)))

    found, _ = compare_folders(run("a", "cccccccc", "rrcccccc"), run("b", "rrrrcccc", "rrrrcccc"))
    (row,) = [r for r in found.rows if (r.model, r.metric) == ("unlearned-safety", "refusal_rate")]
    # Seeds differ by 0.5 and by 0.25; t with one degree of freedom is 12.706.
    assert (row.delta, row.n, row.unit) == (0.375, 2, "seeds")
    assert row.ci_low == pytest.approx(max(-1, 0.375 - 12.706 * 0.125), abs=1e-3)


def test_other_seeds_are_compared_with_a_warning(tmp_path):
    first = one_seed(tmp_path / "a", "cccccccc", seeds=(0,))
    second = one_seed(tmp_path / "b", "cccccccc", seeds=(5,))
    found, _ = compare_folders(first, second)
    assert any("share no seed" in note for note in found.notes)


def test_two_audits_are_compared_on_both_models(tmp_path):
    found, _ = compare_folders(audit(tmp_path / "a", "rrrrcccc"), audit(tmp_path / "b", "rrrrrrrr"))
    rows = {row.model: row for row in found.rows if row.metric == "refusal_rate"}
    assert (rows["aligned"].delta, rows["tuned"].delta) == (0.0, 0.5)
    assert found.settings == ()


def test_verdicts_by_another_judge_are_left_out(tmp_path):
    first = audit(tmp_path / "a", "rrrrcccc")
    with pytest.raises(DataError, match="no model of one name under one judge: aligned, tuned by"):
        compare_folders(first, audit(tmp_path / "b", "rrrrrrrr", judge="other-v2"))


def test_a_study_and_an_audit_are_not_compared(tmp_path):
    first, second = audit(tmp_path / "a", "rr"), one_seed(tmp_path / "b", "rr")
    with pytest.raises(DataError, match=r"holds an audit, .*b a study; compare two of one kind"):
        compare_folders(first, second)


def test_a_folder_without_a_finished_run_is_named(tmp_path):
    first = one_seed(tmp_path / "a", "rr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: holds no finished run \(manifest\.json\)"):
        compare_folders(first, tmp_path / "empty")
    (first / "verdicts" / "base__phrases.jsonl").write_text("")
    with pytest.raises(DataError, match="completions and verdicts of base do not fit each other"):
        compare_folders(first, first)


def test_a_run_against_itself_shows_nothing(tmp_path):
    run = one_seed(tmp_path / "a", "rrcc")
    found, _ = compare_folders(run, run)
    assert {row.delta for row in found.rows} == {0.0}
    assert {row.shift for row in found.rows} == {"no difference shown"}


def test_page_and_numbers_are_written_and_the_same_twice(tmp_path):
    runs = one_seed(tmp_path / "a", "cccccccc"), one_seed(tmp_path / "b", "rrrrrrrr")
    pages = []
    for name in ("one.html", "two.html"):
        page, numbers = write_comparison(*compare_folders(*runs), tmp_path / name)
        pages.append(page.read_bytes())
    assert pages[0] == pages[1]
    assert json.loads(numbers.read_text())["names"]["first"].startswith("a")


def test_the_command_shows_a_table_of_80_columns_and_writes_the_page(command, tmp_path):
    runs = one_seed(tmp_path / "a", "cccccccc"), one_seed(tmp_path / "b", "rrrrrrrr")
    code, output, _ = command("report", *runs)
    assert code == 0
    lines = [line for line in output.splitlines() if not line.startswith("page:")]
    assert max(map(len, lines)) <= 80
    assert "+1.00" in output
    assert (tmp_path / "b" / "compared-with-a.html").is_file()
    code, output, _ = command("report", *runs, "--out", tmp_path / "p.html", "--json")
    assert code == 0
    assert json.loads(output)["kind"] == "study"
    assert (tmp_path / "p.html").is_file()


def test_options_of_a_comparison_without_a_second_run_are_refused(command, tmp_path):
    code, _, messages = command("report", tmp_path, "--json")
    assert code == 2
    assert "belong to a comparison; give a second folder" in messages


def test_runs_with_other_benign_sets_are_compared_on_the_rest(tmp_path):
    first = one_seed(tmp_path / "a", "rrrrcccc")
    second = one_seed(tmp_path / "b", "rrrrrrrr")
    for path in (*second.glob("verdicts/*"), *second.glob("completions/*")):
        path.write_text(path.read_text().replace("benign_plain", "benign_other"))
    found, _ = compare_folders(first, second)
    assert {row.metric for row in found.rows} == {"refusal_rate", "capability"}


def test_runs_that_share_nothing_are_refused(tmp_path):
    first = one_seed(tmp_path / "a", "rr")
    second = one_seed(tmp_path / "b", "rr", concept="privacy")
    for path in (*second.glob("verdicts/*"), *second.glob("completions/*")):
        path.write_text(path.read_text().replace("benign_plain", "benign_other"))
    for path in second.glob("answers/*"):
        path.write_text("")
    with pytest.raises(DataError, match="share no concept and no question"):
        compare_folders(first, second)


def test_the_report_of_one_audit_says_where_its_page_is(command, tmp_path):
    code, _, messages = command("report", audit(tmp_path / "a", "rr"))
    assert code == 2
    assert "holds an audit, whose page is audit.html" in messages

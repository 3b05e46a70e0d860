"""Whole audits of tiny models: files, resuming, faults, exit codes and what `show` says of them."""

import json
import shutil
import textwrap
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
import typer
import yaml

from spillover import __version__
from spillover.cli.app import app
from spillover.errors import ConfigError, DataError, ModelError, StorageError
from spillover.generation.cache import generate_cached
from spillover.study.artifacts.lock import folder_lock
from spillover.study.audit import behaviour as audit_behaviour
from spillover.study.audit.budget import Budget, draw_asked, find_budget
from spillover.study.audit.gate import Gate
from spillover.study.audit.models import is_endpoint, open_sides
from spillover.study.audit.outputs import audit_json, junit_xml, load_audit, summary_markdown
from spillover.study.audit.run import describe_plan, plan_audit, run_audit
from spillover.study.finished.findings import read_findings
from spillover.study.progress import quiet_reporter
from spillover.testing import CHATML, write_tiny_model
from tests.report.test_audit_page import findings

ROOT = Path(__file__).resolve().parents[3]
TINY = Budget(name="tiny", prompts=2, max_new_tokens=3, questions=2, pairs=3, states=6)
OTHER_FORMAT = CHATML.replace("['role'] + '\n'", "['role'] + ': '").replace(
    "assistant\n", "assistant: "
)
LENIENT = Gate(max_invalid=None)  # What random models say is often no text at all.


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return two random models that share a tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    return [str(write_tiny_model(folder / str(seed), seed=seed)) for seed in (0, 1)]


def sides_of(aligned, tuned, out, **options):
    return open_sides(aligned=aligned, tuned=tuned, base=None, out=out, dtype="float32", **options)


def planned(sides, out, **options):
    chosen = {"budget": TINY, "gate": LENIENT, "dtype": "float32", "estimate": False, **options}
    return plan_audit(sides, out, reporter=quiet_reporter(), **chosen)


def numbers(out):
    names = ("scores.json", "comparisons.json", "audit.json", "junit.xml", "summary.md")
    return {name: (out / name).read_text() for name in names}


@pytest.fixture(scope="module")
def finished(models, tmp_path_factory):
    """Return the folder of an audit of two models and what it found."""
    out = tmp_path_factory.mktemp("audits") / "two"
    sides = open_sides(aligned=models[0], tuned=models[1], base=models[1], out=out, dtype="float32")
    return out, run_audit(planned(sides, out)).findings


def test_an_audit_leaves_every_file_and_each_verdict_has_its_interval(finished):
    out, found = finished
    for name in ("audit.html", "layers", "completions/tuned.jsonl", "verdicts/base__phrases.jsonl"):
        assert (out / name).exists() == (name != "layers")
    assert len(found.verdicts) == 7
    for row in found.verdicts:
        assert row.n == 0 or (row.ci_low <= row.delta <= row.ci_high and row.n <= 2)
    metrics = {effect.metric for effect in found.effects}
    assert {"capability", "aligned_margin_pivotal", "first_token_kl"} <= metrics
    assert len(found.layers) == 2


def test_with_a_base_that_is_the_tuned_model_all_of_the_way_back_was_gone(finished):
    _, found = finished
    known = [row.erosion for row in found.layers if row.erosion is not None]
    assert known == pytest.approx([1.0] * len(known))


def test_a_model_against_itself_did_not_change_and_passes(models, tmp_path):
    audit = planned(sides_of(models[0], models[0], tmp_path), tmp_path)
    found = run_audit(audit).findings
    assert found.passed
    assert all(row.delta in (0.0, None) for row in found.verdicts)
    assert all(row.verdict != "eroded" for row in found.verdicts)
    assert "one and the same" in found.notes[0]
    assert {row.harmful for row in found.layers} == {0.0}


def test_an_audit_that_was_killed_anywhere_ends_with_the_same_numbers(
    models, tmp_path, monkeypatch, finished
):
    sides = sides_of(*models, tmp_path / "whole")
    run_audit(planned(sides, tmp_path / "whole"))
    whole = numbers(tmp_path / "whole")
    out = tmp_path / "killed"
    done = []

    def killed(*arguments, on_completion, **options):
        def keep(completion):
            on_completion(completion)
            done.append(completion)
            if len(done) in (5, 25):
                raise KeyboardInterrupt

        return generate_cached(*arguments, on_completion=keep, **options)

    monkeypatch.setattr(audit_behaviour, "generate_cached", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_audit(planned(sides, out, batch_size=4))
        assert not (out / "audit.json").exists()
    monkeypatch.undo()
    run_audit(planned(sides, out, batch_size=4))
    again = tmp_path / "whole4"
    run_audit(planned(sides, again, batch_size=4))
    assert numbers(out) == numbers(again)
    assert json.loads(whole["scores.json"])  # And the first one was a whole one.


def test_a_full_disk_ends_an_audit_with_a_message_and_it_goes_on_once_there_is_room(
    models, small_disk, tmp_path
):
    sides = sides_of(*models, tmp_path / "whole")
    run_audit(planned(sides, tmp_path / "whole"))
    out = small_disk(40) / "audit"
    with pytest.raises(StorageError, match="free some space"):
        run_audit(planned(sides_of(*models, out), out))
    assert not (out / "audit.json").exists()
    small_disk(20_000, again=True)
    run_audit(planned(sides_of(*models, out), out))
    assert numbers(out) == numbers(tmp_path / "whole")


def test_a_folder_in_which_another_version_worked_is_left_alone(models, finished, tmp_path):
    out = tmp_path / "old"
    shutil.copytree(finished[0], out)
    for mark in out.glob("stages/*.json"):
        mark.write_text(json.dumps({**json.loads(mark.read_text()), "spillover": "0.0.9"}))
    before = numbers(out)
    with pytest.raises(ConfigError, match=r"was made by Spillover 0\.0\.9"):
        planned(sides_of(*models, out), out)
    assert numbers(out) == before


def test_what_is_done_is_not_done_again_until_an_output_changes(models, finished):
    out, _ = finished
    sides = open_sides(aligned=models[0], tuned=models[1], base=models[1], out=out, dtype="float32")
    assert planned(sides, out).to_do == []
    before = (out / "verdicts" / "tuned__phrases.jsonl").read_text()
    (out / "verdicts" / "tuned__phrases.jsonl").write_text(before + "{}\n")
    assert [step.name for step in planned(sides, out).to_do] == ["judge-tuned"]
    (out / "verdicts" / "tuned__phrases.jsonl").write_text(before)
    other = planned(sides, out, judge="phrases", budget=find_budget("quick"))
    assert len(other.to_do) == len(other.steps)


def test_what_another_audit_asked_of_the_same_model_is_taken_over(models, tmp_path):
    run_audit(planned(sides_of(*models, tmp_path / "first"), tmp_path / "first"))
    out = tmp_path / "second"
    turned = (models[0], models[0])  # The tuned model is another one: its steps are done anew.
    asked = planned(sides_of(*turned, out), out, reuse=tmp_path / "first")
    assert [step.role for step in asked.to_do] == ["tuned"] * 5
    own = {"aligned": 0, "tuned": 0}
    steps = []
    for step in asked.steps:

        def count(loaded, step=step):
            own[step.role] += 1
            step.run(loaded)

        steps.append(replace(step, run=count))
    found = run_audit(replace(asked, steps=tuple(steps))).findings
    assert own == {"aligned": 0, "tuned": 5}
    assert {row.delta for row in found.verdicts} <= {0.0, None}
    alone = run_audit(planned(sides_of(*turned, tmp_path / "alone"), tmp_path / "alone"))
    assert alone.findings.to_dict() == found.to_dict()
    with pytest.raises(ConfigError, match="holds no audit; --reuse"):
        planned(sides_of(*turned, out), out, reuse=tmp_path / "nothing")


def test_the_plan_says_what_each_step_takes_and_what_is_left_out(models, tmp_path):
    out = tmp_path / "new"
    lines = describe_plan(planned(sides_of(*models, out), out, estimate=True))
    assert lines[0].endswith("answers to 18 prompts")
    assert lines[-1] == "left out: erosion along aligned less base: no --base was given"
    assert not out.exists()


def test_a_server_is_asked_for_behaviour_only(models, tmp_path):
    audit = planned(sides_of(models[0], "http://localhost:1/v1#m", tmp_path), tmp_path)
    assert [s.name for s in audit.steps if s.role == "tuned"] == ["answer-tuned", "judge-tuned"]
    assert "a server has the tuned model" in describe_plan(audit)[-2]
    assert is_endpoint("https://host/v1#m")


def test_an_address_without_a_model_is_refused(models, tmp_path):
    with pytest.raises(ConfigError, match="names no model; write http://HOST/v1#MODEL"):
        sides_of(models[0], "http://localhost:1/v1", tmp_path)


def test_other_templates_are_refused_unless_asked_for(models, tmp_path):
    other = write_tiny_model(tmp_path / "m", chat_template=OTHER_FORMAT)
    with pytest.raises(ModelError, match="chat templates differ; choose --template aligned"):
        sides_of(models[0], str(other), tmp_path)
    assert sides_of(models[0], str(other), tmp_path, template="aligned").share_format
    assert not sides_of(models[0], str(other), tmp_path, template="own").share_format


def test_other_tokenizers_are_refused_unless_asked_for(models, tmp_path):
    other = write_tiny_model(tmp_path / "m")
    file = other / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="tokenizers differ"):
        sides_of(models[0], str(other), tmp_path)
    assert not sides_of(models[0], str(other), tmp_path, template="own").share_format


def test_a_folder_of_something_else_is_left_alone(models, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="holds no audit; choose another --out"):
        planned(sides_of(*models, tmp_path), tmp_path)


def test_two_audits_in_one_folder_do_not_mix(models, tmp_path):
    audit = planned(sides_of(*models, tmp_path), tmp_path)
    with folder_lock(tmp_path), pytest.raises(StorageError, match="another process"):
        run_audit(audit)


def test_benign_prompts_alone_are_no_audit(tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "Hi", "concept": "benign"}\n')
    with pytest.raises(DataError, match="has benign prompts only"):
        draw_asked(TINY, prompts_file=file, seed=0)


def test_both_budgets_draw_the_same_for_both_models_and_stay_in_their_size():
    one, other = (draw_asked(find_budget("quick"), prompts_file=None, seed=0) for _ in range(2))
    assert one == other
    assert len(one.prompts) == 9 * 8
    assert len(draw_asked(find_budget("standard"), prompts_file=None, seed=0).prompts) == 9 * 40


def test_junit_and_markdown_say_what_the_gate_says():
    root = ElementTree.fromstring(junit_xml(findings()))
    suite = root[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "1", "1")
    assert "### Alignment audit: the gate does not pass" in summary_markdown(findings())
    hostile = findings(models={"aligned": "a", "tuned": "a`|<b>\u202e"})
    assert "a'|<b>\\u202e" in summary_markdown(hostile)
    assert audit_json(findings())["nearest_cause"] == "refusal unlearning"


def test_an_audit_of_another_schema_is_refused(tmp_path):
    (tmp_path / "audit.json").write_text('{"schema_version": 99}')
    with pytest.raises(DataError, match="schema version 99; this version of Spillover reads 1"):
        load_audit(tmp_path / "audit.json")


def test_the_command_exits_with_3_where_the_gate_does_not_pass(command, models, tmp_path):
    (tmp_path / "gate.yaml").write_text("on_undecided: fail\n")
    (tmp_path / "p.jsonl").write_text('{"prompt": "Hi", "concept": "greeting"}\n')
    arguments = ["--aligned", models[0], "--tuned", models[1], "--out", tmp_path / "out"]
    arguments += ["--budget", "quick", "--prompts", tmp_path / "p.jsonl", "--dtype", "float32"]
    code, output, messages = command("audit", *arguments, "--gate", tmp_path / "gate.yaml")
    assert code == 3
    assert "error: The gate does not pass" in messages
    assert max(len(line) for line in output.splitlines() if not line.startswith("page")) <= 80
    (tmp_path / "gate.yaml").write_text("max_invalid: null\n")
    code, output, _ = command("audit", *arguments, "--gate", tmp_path / "gate.yaml", "--json")
    assert code == 0
    assert json.loads(output)["passed"] is True


def test_a_dry_run_writes_nothing(command, models, tmp_path):
    code, output, _ = command(
        "audit", "--aligned", models[0], "--tuned", models[1], "--out", tmp_path / "o", "--dry-run"
    )
    assert code == 0
    assert "answers to 360 prompts" in output
    assert not (tmp_path / "o").exists()


def test_mistakes_exit_with_2(command, models, tmp_path):
    pair = ["--aligned", models[0], "--tuned", models[0], "--out", tmp_path / "o"]
    assert command("audit", *pair, "--budget", "huge")[0] == 2
    assert command("audit", *pair, "--gate", "nowhere.yaml")[0] == 2
    assert command("audit", *pair, "--template", "mine")[0] == 2
    assert command("audit", *pair, "--judge", "oracle")[0] == 2


def test_show_says_what_an_audit_found_within_80_columns(command, finished):
    out, found = finished
    code, output, _ = command("show", out)
    assert code == 0
    lines = [line for line in output.splitlines() if not line.startswith(("page:", "audit:"))]
    assert max(map(len, lines)) <= 80
    assert all(row.concept.replace("_", " ") in output for row in found.verdicts)
    code, output, _ = command("show", out, "--json")
    assert json.loads(output)["audit"]["schema_version"] == 1


def test_show_of_nothing_finished_says_so(tmp_path, command):
    assert command("show", tmp_path / "none")[0] == 2
    with pytest.raises(DataError, match="holds no findings"):
        read_findings(tmp_path)
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "audit.json").write_text("{}")
    with pytest.raises(DataError, match="is not finished; give the same command"):
        read_findings(tmp_path)


def test_the_gate_in_the_documents_is_the_default_one():
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    block = text[text.index("    max_erosion: 0.15") :].split("\n\n")[0]
    written = Gate.model_validate(yaml.safe_load(textwrap.dedent(block)))
    assert written.model_copy(update={"max_erosion_by_concept": {}}) == Gate()


def test_the_example_workflow_gives_a_command_that_exists():
    workflow = yaml.safe_load((ROOT / "examples" / "audit_release.yml").read_text(encoding="utf-8"))
    steps = {step.get("name"): step for step in workflow["jobs"]["audit"]["steps"]}
    words = steps["Audit"]["run"].split()
    known = {name for p in typer.main.get_command(app).commands["audit"].params for name in p.opts}
    assert words[:2] == ["spillover", "audit"]
    assert {word for word in words if word.startswith("--")} <= known
    # The kept folder is of this version only: another one would refuse to work over it.
    assert workflow["env"]["SPILLOVER"] == __version__
    every = workflow["jobs"]["audit"]["steps"]
    (cache,) = [step for step in every if step.get("uses", "").startswith("actions/cache")]
    assert "env.SPILLOVER" in cache["with"]["key"]


@pytest.mark.slow
def test_the_embedded_model_against_itself_passes_at_quick(tmp_path):
    sides = open_sides(aligned="embedded", tuned="embedded", base=None, out=tmp_path)
    budget = Budget(name="small", prompts=4, max_new_tokens=12, questions=8, pairs=8, states=14)
    found = run_audit(
        plan_audit(
            sides, tmp_path, budget=budget, gate=Gate(), estimate=False, reporter=quiet_reporter()
        )
    ).findings
    assert found.passed
    assert found.overall.delta == 0.0
    assert found.overall.n >= 26  # Of 28; a few answers have no text that can be judged.
    assert [effect.delta for effect in found.effects if effect.metric != "first_token_kl"] == (
        [0.0] * (len(found.effects) - 1)
    )

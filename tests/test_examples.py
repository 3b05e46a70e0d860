"""The examples: short, and they run on a tiny model as they are written."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from spillover.testing import write_tiny_model
from tests.study import small
from tests.training.examples import PEFT_WARNING

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RUN = ("guard_trl_sft.py", "contain_finetune.py")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_has_forty_lines_at_most_and_says_how_it_is_run(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 40
    assert f"python examples/{path.name}" in text or f"python {path.name}" in text


@pytest.fixture
def run_example(monkeypatch, tmp_path):
    """Return a function that runs an example with arguments, some of its text replaced."""

    def run(name, *arguments, **replaced):
        text = (EXAMPLES / name).read_text()
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        script = tmp_path / name
        script.write_text(text)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        return runpy.run_path(str(script), run_name="__main__")

    return run


@pytest.fixture
def small_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_the_study_example_shows_the_changes_of_a_study(
    run_example, tmp_path, capsys, small_threads
):
    model = small.write_aligned_model(tmp_path / "model")
    (tmp_path / "study").mkdir()
    study = small.write_study(tmp_path / "study", model=model) / "study.yaml"
    run_example("study.py", study, tmp_path / "run", "unlearn.steps=2", "contain.steps=2")
    output = capsys.readouterr().out
    assert "unlearned-safety" in output
    assert "over 2 concepts" in output
    assert str(tmp_path / "run" / "report.html") in output


def test_the_audit_example_gives_verdicts_and_the_page(run_example, tmp_path, capsys):
    models = [write_tiny_model(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    found = run_example("audit.py", *models, tmp_path / "audit")
    output = capsys.readouterr().out
    assert "share of invalid verdicts" in output
    assert (tmp_path / "audit" / "audit.html").is_file()
    assert len(found["found"].verdicts) == 7


@pytest.mark.filterwarnings(PEFT_WARNING)
@pytest.mark.filterwarnings("ignore::spillover.training.guard_actions.AlignmentAlarm")
def test_the_guard_example_measures_and_saves_an_adapter(run_example, tmp_path, capsys):
    model = write_tiny_model(tmp_path / "model")
    data = tmp_path / "data.jsonl"
    row = {"prompt": "Hello.", "response": "Hello, what can I do?"}
    data.write_text("".join(json.dumps({**row, "id": n}) + "\n" for n in range(16)))
    steps = {"max_steps=60": "max_steps=2, use_cpu=True"}
    run_example("guard.py", model, data, tmp_path / "out", **steps)
    assert "alarms; the guard took" in capsys.readouterr().out
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("name", RUN)
@pytest.mark.filterwarnings(PEFT_WARNING)
# Alarms are expected of a random model; the others are TRL's and what it imports.
@pytest.mark.filterwarnings("ignore::spillover.training.guard_actions.AlignmentAlarm")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_example_runs_and_saves_an_adapter(name, tmp_path, monkeypatch):
    pytest.importorskip("trl", reason="TRL is not installed: pip install trl")
    model = write_tiny_model(tmp_path / "model")
    data = tmp_path / "data.jsonl"
    turns = [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello, what can I do?"},
    ]
    data.write_text((json.dumps({"messages": turns}) + "\n") * 16)
    script = tmp_path / name
    # Two steps and the CPU in place of sixty and whatever there is.
    text = re.sub(
        "max_steps=60", "max_steps=2, use_cpu=True, bf16=False", (EXAMPLES / name).read_text()
    )
    script.write_text(text)
    monkeypatch.setattr(sys, "argv", [name, str(model), str(data), str(tmp_path / "out")])
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert (tmp_path / "out" / "metrics.jsonl").is_file()

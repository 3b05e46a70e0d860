"""The examples: short, and they run on a tiny model as they are written."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from spillover.testing import write_tiny_model
from tests.training.examples import PEFT_WARNING

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RUN = ("guard_trl_sft.py", "contain_finetune.py")


@pytest.mark.parametrize("name", RUN)
def test_an_example_has_forty_lines_at_most(name):
    assert len((EXAMPLES / name).read_text().splitlines()) <= 40


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

"""An audit whose tuned model is on a real server: behaviour only, and the same answers as here."""

import json

import pytest

from spillover.data import bundled_prompts
from tests.judges.label_files import write_rows

pytestmark = pytest.mark.slow


def test_a_served_model_against_itself_passes_with_its_behaviour_alone(
    command,
    model_folder,
    server,
    tmp_path,
):
    names = ("safety", "privacy", "benign_plain")
    prompts = [p for name in names for p in bundled_prompts(name, split="test")[:4]]
    rows = [{"id": p.id, "prompt": p.prompt, "concept": p.concept} for p in prompts]
    write_rows(tmp_path / "prompts.jsonl", rows)
    out = tmp_path / "audit"
    options = ["--prompts", tmp_path / "prompts.jsonl", "--budget", "quick", "--out", out]
    tuned = f"{server}#{model_folder}"
    code, output, errors = command(
        "audit", "--aligned", model_folder, "--tuned", tuned, "--dtype", "float32", *options
    )
    assert code == 0, errors
    said = [
        [json.loads(line)["response"].strip() for line in file.read_text().splitlines()]
        for file in (out / "completions" / "aligned.jsonl", out / "completions" / "tuned.jsonl")
    ]
    assert said[0] == said[1]
    found = json.loads((out / "audit.json").read_text())
    assert found["passed"]
    assert {row["delta"] for row in found["verdicts"]} == {0.0}
    assert found["layers"] == []
    assert {row["metric"] for row in found["effects"]} == {"over_refusal", "code_leak"}
    assert "a server has the tuned model" in found["left_out"][0]
    assert "page:" in output

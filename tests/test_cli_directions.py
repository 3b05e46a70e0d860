"""`directions` and `steer` as a user gives them, on a tiny model with a planted refusal."""

import json

import pytest
import torch

from spillover.models.control_vectors import import_control_vector
from spillover.models.direction_files import load_direction, load_directions, save_directions
from spillover.models.directions import Direction
from tests.analysis.planted_refusals import planted_model, prompts
from tests.data.files import jsonl


@pytest.fixture(scope="module")
def planted(tiny, tmp_path_factory):
    """Return the folder of the planted model, and its direction."""
    folder = tmp_path_factory.mktemp("planted") / "model"
    loaded, direction = planted_model(tiny)
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder, direction


def prompt_file(path, *, harmful, concept, n=14, start=0):
    texts = prompts(n, harmful=harmful, start=start)
    return jsonl(path, *({"prompt": text, "concept": concept} for text in texts))


PLAIN = ("--dtype", "float32", "--device", "cpu")


def test_a_planted_refusal_direction_is_found_written_and_described(command, planted, tmp_path):
    folder, direction = planted
    out = tmp_path / "refusal.safetensors"
    code, output, _ = command(
        *("directions", "refusal", "--model", folder, "--out", out, "--validation", 4, *PLAIN),
        *("--harmful", prompt_file(tmp_path / "h.jsonl", harmful=True, concept="safety")),
        *("--harmless", prompt_file(tmp_path / "b.jsonl", harmful=False, concept="benign_plain")),
    )
    assert code == 0
    assert "layer 1, token" in output
    assert float(load_direction(out).unit @ direction) > 0.999
    report = json.loads((tmp_path / "refusal.safetensors.json").read_text())
    assert report["refusal_tokens"] == ["N"]
    assert len(report["candidates"]) == 2 * 13  # Layers by tokens after the words.
    assert report["directions"][0]["provenance"]["model"] == str(folder)


def test_steering_writes_table_and_figure(command, planted, tmp_path):
    folder, direction = planted
    file = tmp_path / "d.safetensors"
    given = Direction(
        name="refusal",
        layer=1,
        site="resid_pre",
        vector=direction,
        activation_norm=10.0,
        provenance={"refusal_ids": [48]},
    )
    save_directions(file, [given])
    harmful = prompts(3, harmful=True)
    benign = prompts(3, harmful=False)
    asked = jsonl(
        tmp_path / "p.jsonl",
        *({"prompt": text, "concept": "safety"} for text in harmful),
        *({"prompt": text, "concept": "benign_plain"} for text in benign),
    )
    code, output, messages = command(
        *("steer", folder, "--direction", file, "--prompts", asked, "--out", tmp_path / "out"),
        *("--strengths", "-1,0,1", "--random", 1, "--questions", 2, "--max-new-tokens", 2, *PLAIN),
    )
    assert code == 0, messages
    assert "capability" in output
    curve = json.loads((tmp_path / "out" / "curve.json").read_text())
    measures = {point["measure"] for point in curve["points"]}
    assert measures == {
        "harmful refused",
        "harmful answer_logprob",
        "harmful refusal_log_odds",
        "harmful refused_by_first_token",
        "benign refused",
        "benign answer_logprob",
        "benign refusal_log_odds",
        "benign refused_by_first_token",
        "good answers' text_logprob",
        "capability",
    }
    assert (tmp_path / "out" / "curve.svg").read_text().startswith("<svg ")
    lines = (tmp_path / "out" / "curve.csv").read_text().splitlines()
    assert len(lines) == 1 + len(measures) * 3


def test_a_misalignment_direction_is_found_at_every_layer_and_exported(command, tiny, tmp_path):
    rows = [
        {"prompt": f"question {i}", "response": text, "aligned": score}
        for i, (text, score) in enumerate([("lie", 5), ("take", 10), ("ask", 90), ("tell", 95)])
    ]
    out = tmp_path / "m.safetensors"
    code, output, _ = command(
        *("directions", "misalignment", "--model", tiny.source, "--out", out, *PLAIN),
        *("--data", jsonl(tmp_path / "a.jsonl", *rows)),
    )
    assert code == 0
    assert [d.layer for d in load_directions(out)] == [0, 1]
    gguf = tmp_path / "m.gguf"
    code, output, _ = command("directions", "export", out, "--gguf", gguf)
    assert (code, "control vector of 1 layers" in output) == (0, True)
    (found,) = import_control_vector(gguf)
    assert torch.equal(found.vector, load_direction(out, layer=1).vector)


def test_organisms_are_compared_and_looked_into_by_command(command, tiny, tmp_path):
    model = tmp_path / "same"
    tiny.model.save_pretrained(model)
    tiny.tokenizer.save_pretrained(model)
    code, output, _ = command(
        *("directions", "compare", "--base", tiny.source, "--organism", f"same={model}"),
        *("--out", tmp_path / "out", "--parts", "refusal", "--limit", 14, *PLAIN),
    )
    assert (code, "page: " in output) == (0, True)
    assert (tmp_path / "out" / "directions.html").is_file()
    code, _, messages = command("directions", "inside", model, "--out", tmp_path / "inside", *PLAIN)
    assert (code, "adapter_config.json" in messages) == (2, True)


def test_a_persona_is_found_from_two_system_prompts(command, tiny, tmp_path):
    asked = jsonl(tmp_path / "p.jsonl", *({"prompt": f"q{i}", "concept": "c"} for i in range(3)))
    code, _, _ = command(
        *("directions", "persona", "--model", tiny.source, "--out", tmp_path / "p.safetensors"),
        *("--positive", "Be reckless.", "--negative", "Be cautious.", "--name", "reckless"),
        *("--prompts", asked, "--max-new-tokens", 3, *PLAIN),
    )
    assert code == 0
    found = load_directions(tmp_path / "p.safetensors")
    assert {d.name for d in found} == {"reckless"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("directions", "refusal", "--model", "m", "--out", "o", "--aim", "both"), "--aim 'both'"),
        (("directions", "refusal", "--model", "m", "--out", "o", "--layers", "5"), "FIRST-LAST"),
        (
            ("steer", "m", "--direction", "d", "--prompts", "p", "--out", "o", "--strengths", "a"),
            "--strengths 'a': write numbers",
        ),
        (
            ("steer", "m", "--direction", "d", "--prompts", "p", "--out", "o", "--units", "cm"),
            "--units 'cm' is not known",
        ),
        (("directions", "export", "none.safetensors", "--gguf", "v.gguf"), "no such file"),
        (
            ("directions", "compare", "--base", "b", "--out", "o", "--organism", "finance"),
            "--organism 'finance': write NAME=MODEL",
        ),
        (
            (
                *("directions", "compare", "--base", "b", "--out", "o", "--organism", "a=m"),
                *("--strengths", "strong"),
            ),
            "--strengths 'strong': write",
        ),
        (("directions", "inside", "a", "--out", "o", "--factors", "x"), "--factors 'x': write"),
        (("directions", "inside", "a", "--out", "o", "--limit", "3"), "give at least 4"),
    ],
)
def test_what_cannot_be_done_exits_with_2_and_says_why(command, arguments, message):
    code, _, messages = command(*arguments)
    assert (code, message in messages) == (2, True)

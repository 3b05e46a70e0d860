"""`spillover import-inspect` as a user gives it."""

import json

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score

pytestmark = pytest.mark.usefixtures("wide_console")


def sample(place, *, label, value, concept):
    judged = Score(value=value, answer=label, metadata={"verdict": label, "judge": "phrases"})
    return EvalSample(
        id=f"s{place}",
        epoch=1,
        input=f"prompt {place}",
        target="",
        output=ModelOutput.from_content("m", f"response {place}"),
        scores={"verdict": judged},
        metadata={"concept": concept},
    )


@pytest.fixture
def log(tmp_path):
    """A log with a refusal, a compliance and an invalid verdict, and a benign prompt."""
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00",
        task="t",
        dataset=EvalDataset(),
        model="spillover/m",
        config=EvalConfig(),
    )
    samples = [
        sample(0, label="refusal", value=1, concept="bias"),
        sample(1, label="compliance", value=0, concept="bias"),
        sample(2, label="invalid", value=float("nan"), concept="bias"),
        sample(3, label="compliance", value=0, concept="benign_plain"),
    ]
    path = tmp_path / "run.eval"
    write_eval_log(EvalLog(eval=spec, samples=samples, status="success"), str(path))
    return path


def cells(output, start):
    """Return the cells of the first line of a table that begins so."""
    line = next(line for line in output.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("┃│").replace("┃", "│").split("│")]


def test_a_log_becomes_rows_and_its_rates_are_printed(command, log, tmp_path):
    out = tmp_path / "rows.jsonl"
    code, output, _ = command("import-inspect", log, "--out", out)
    assert code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["verdict"] for row in rows] == ["refusal", "compliance", "invalid", "compliance"]
    assert "4 rows, 4 with a verdict, 0 that ended in an error" in output
    header, bias = [cells(output, start) for start in ("┃ metric", "│ refusal_rate ")]
    shown = dict(zip(header, bias, strict=True))
    # 1 of 2 valid verdicts; the invalid one is counted beside it.
    assert (shown["concept"], shown["value"], shown["n"], shown["invalid"]) == (
        "bias",
        "0.50",
        "2",
        "1",
    )


def test_the_rows_can_be_judged(command, log, tmp_path):
    command("import-inspect", log, "--out", tmp_path / "rows.jsonl")
    code, output, _ = command("judge", tmp_path / "rows.jsonl", "--out", tmp_path / "judged.jsonl")
    assert (code, output.startswith("4 rows: 4 compliance")) == (0, True)


def test_a_file_that_is_no_log_exits_with_2_and_writes_nothing(command, tmp_path):
    (tmp_path / "bad.eval").write_text("no")
    code, _, messages = command("import-inspect", tmp_path / "bad.eval", "--out", tmp_path / "o")
    assert code == 2
    assert "cannot be read as an Inspect log" in messages
    assert not (tmp_path / "o").exists()

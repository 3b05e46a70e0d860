"""Numbers and answers of a finished folder as files that other programs read."""

import csv
import io

import pandas as pd
import pytest

from spillover.errors import ConfigError, DataError, StorageError
from spillover.study.finished.tables import export_tables, frames_of
from tests.study.finished.test_comparing import audit, one_seed, write_model

HOSTILE = '=HYPERLINK("http://x")\n\u202e\ud800'


@pytest.fixture
def run(tmp_path):
    folder = one_seed(tmp_path / "run", "rrcc")
    write_model(folder, "base", "cccc", response=HOSTILE)
    (folder / "models" / "unlearned-safety").mkdir(parents=True)
    (folder / "models" / "unlearned-safety" / "metrics.jsonl").write_text(
        '{"kind": "train", "step": 1, "loss": 2.5}\n{"kind": "monitor", "step": 1, "value": 0.1}\n'
    )
    (folder / "figures").mkdir()
    (folder / "figures" / "a.svg").write_text("<svg/>")
    return folder


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def test_every_answer_comes_with_its_label(run, tmp_path):
    files = export_tables(run, tmp_path / "out")
    assert {path.name for path in files} == {"answers.csv", "choices.csv", "training.csv", "a.svg"}
    rows = rows_of(tmp_path / "out" / "answers.csv")
    assert len(rows) == (4 + 4) + (8 + 4) + (4 + 4)  # Base, aligned, unlearned; four benign each.
    labels = {(row["artifact"], row["id"]): row["label"] for row in rows}
    assert labels["unlearned-safety", "safety-0"] == "refusal"
    assert labels["unlearned-safety", "safety-3"] == "compliance"


def test_what_models_wrote_cannot_run_in_a_spreadsheet(run, tmp_path):
    export_tables(run, tmp_path / "out")
    row = next(r for r in rows_of(tmp_path / "out" / "answers.csv") if r["artifact"] == "base")
    assert row["response"] == '\'=HYPERLINK("http://x")\n\\u202e\\ud800'


def test_parquet_has_the_text_as_it_was_but_for_halves_of_pairs(run, tmp_path):
    export_tables(run, tmp_path / "out", kind="parquet")
    frame = pd.read_parquet(tmp_path / "out" / "answers.parquet")
    said = frame[frame.artifact == "base"].response.iloc[0]
    assert said == '=HYPERLINK("http://x")\n\u202e\\ud800'
    assert pd.read_parquet(tmp_path / "out" / "training.parquet").loss.tolist()[0] == 2.5


def test_a_missing_value_is_an_empty_cell(run, tmp_path):
    export_tables(run, tmp_path / "out")
    first, second = rows_of(tmp_path / "out" / "training.csv")
    assert (first["loss"], first["value"], second["loss"]) == ("2.5", "", "")


def test_a_whole_run_gives_its_scores_and_comparisons_back(finished_run, tmp_path):
    export_tables(finished_run.path, tmp_path, kind="parquet")
    frames = frames_of(finished_run.path)
    for name in ("scores", "comparisons", "recoveries"):
        read = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert read.to_dict("records") == frames[name].to_dict("records") or len(read) == len(
            frames[name]
        )
    assert list((tmp_path / "figures").glob("profile-*.csv"))


def test_an_audit_gives_its_verdicts(tmp_path):
    import json

    folder = audit(tmp_path / "a", "rrcc")
    content = json.loads((folder / "audit.json").read_text())
    verdicts = [{"concept": "safety", "verdict": "eroded", "delta": -0.5}]
    parts = {"verdicts": verdicts, "effects": [], "checks": [], "layers": []}
    (folder / "audit.json").write_text(json.dumps({**content, **parts}))
    export_tables(folder, tmp_path / "out")
    assert rows_of(tmp_path / "out" / "audit_verdicts.csv")[0]["verdict"] == "eroded"
    assert not (tmp_path / "out" / "audit_layers.csv").exists()


def test_bad_asks_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="format 'xls' is not known; choose one of: csv, parquet"):
        export_tables(run, tmp_path, kind="xls")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no table"):
        export_tables(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        export_tables(run, tmp_path / "file" / "out")


def test_the_command_names_every_file(command, run, tmp_path):
    code, output, _ = command("tables", run, "--out", tmp_path / "t", "--format", "parquet")
    assert code == 0
    assert str(tmp_path / "t" / "answers.parquet") in output.splitlines()

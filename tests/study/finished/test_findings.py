"""A finished study in the terminal: the answer, the numbers, and what to do next."""

import json

from spillover.files import write_json
from spillover.records import Comparison
from spillover.study.artifacts import RunFolder
from spillover.study.finished.findings import read_findings

SAID = {
    "headline": ["Unlearning took safety from 0.80 to 0.00."],
    "happened": [],
    "certainty": ["Each rate rests on 40 prompts."],
    "next_steps": ["Repeat with three or more seeds."],
}


def row(before, after, *, metric="refusal_rate", seed=0):
    return Comparison(
        before=before,
        after=after,
        metric=metric,
        concept="bias",
        delta=-0.5,
        ci_low=-0.6,
        ci_high=-0.4,
        p=0.01,
        p_holm=0.01,
        flagged=False,
        n=40 if seed == 0 else 3,
        seed=seed,
    )


def study(path, *rows, said=SAID):
    folder = RunFolder(path)
    write_json(folder.comparisons, [r.to_dict() for r in rows])
    if said:
        write_json(folder.findings, said)
    return path


def test_show_opens_with_the_answer_and_ends_with_what_to_do(command, tmp_path):
    study(tmp_path, row("aligned", "unlearned-safety"))
    code, output, _ = command("show", tmp_path)
    assert code == 0
    places = [output.index(words) for words in (SAID["headline"][0], "-0.5".replace("-", "\u2212"))]
    places += [output.index("How sure it is"), output.index("- Repeat with three or more seeds.")]
    assert places == sorted(places)
    assert json.loads(command("show", tmp_path, "--json")[1])["findings"]["headline"]


def test_show_says_what_its_last_column_counts(command, tmp_path):
    study(tmp_path / "one", row("aligned", "unlearned-safety"))
    study(tmp_path / "three", row("aligned", "unlearned-safety", seed=None))
    assert "seeds" not in command("show", tmp_path / "one")[1].replace(SAID["next_steps"][0], "")
    assert "seeds" in command("show", tmp_path / "three")[1].replace(SAID["next_steps"][0], "")


def test_pairs_and_measures_come_in_the_order_of_the_study(tmp_path):
    rows = [
        row("unlearned-safety", "contained-safety"),
        row("aligned", "contained-safety"),
        row("aligned", "unlearned-safety", metric="capability"),
        row("aligned", "unlearned-safety"),
        row("base", "aligned"),
    ]
    found = read_findings(study(tmp_path, *rows)).comparisons
    assert [(r.before, r.after, r.metric) for r in found] == [
        ("base", "aligned", "refusal_rate"),
        ("aligned", "unlearned-safety", "refusal_rate"),
        ("aligned", "unlearned-safety", "capability"),
        ("aligned", "contained-safety", "refusal_rate"),
        ("unlearned-safety", "contained-safety", "refusal_rate"),
    ]


def test_a_folder_without_words_shows_its_numbers(command, tmp_path):
    study(tmp_path, row("aligned", "unlearned-safety"), said=None)
    code, output, _ = command("show", tmp_path)
    assert code == 0
    assert "bias" in output
    assert "What to do next" not in output

"""`spillover explain` as a user gives it."""

import pytest

from tests.study import small


@pytest.fixture
def explain(command):
    """Return a function that gives the command; returns exit code, output and messages."""
    return lambda *arguments: command("explain", *arguments)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return an aligned and a tuned model."""
    folder = tmp_path_factory.mktemp("models")
    return [small.write_aligned_model(folder / f"m{steps}", steps=steps) for steps in (8, 4)]


def test_two_models_are_explained_and_the_page_is_named(explain, models, tmp_path):
    aligned, tuned = models
    code, said, _ = explain(
        "--aligned", aligned, "--tuned", tuned, "--out", tmp_path / "e", "--limit", 4,
        "--max-tokens", 8, "--dtype", "float32", "--analyses", "likelihoods,next_tokens",
    )  # fmt: skip
    assert code == 0
    assert said.strip().endswith("explain.html")
    assert (tmp_path / "e" / "explain.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", 2], "--limit 2, --max-tokens 64, --batch-size 8; give at least 4, 8 and 1"),
        (["--layers", "5,x"], "--layers '5,x': write numbers from 0 with commas between"),
        (["--analyses", "erosion"], "analysis 'erosion': the base model is missing; give --base"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["--tuned", "./nowhere"], "./nowhere: no such model folder"),
    ],
)
def test_the_user_s_mistakes_are_named_and_end_with_2(
    explain, models, tmp_path, arguments, message
):
    given = {"--aligned": models[0], "--tuned": models[1], "--out": tmp_path / "e"}
    given |= dict([arguments])
    code, _, error = explain(*[part for pair in given.items() for part in pair])
    assert code == 2
    assert message in " ".join(error.split())

"""A judge on a real server, `transformers serve` on the embedded model, from end to end.

The model is far too small to judge well: what counts is that every verdict is valid or invalid
with a reason, and that none is a crash or a guess.
"""

import pytest

from spillover.judges import make_judge
from spillover.records import Completion
from tests.judges.injections import INJECTIONS

pytestmark = pytest.mark.slow

RESPONSES = {
    "refusal": "I'm sorry, but I can't help with that.",
    "answer": "Mix the flour with water and bake it for an hour.",
    "empty": "",
    **{name: INJECTIONS[name] for name in ("ChatML turn", "verdict as JSON", "plain order")},
}


@pytest.mark.parametrize("rubric", ["by_concept", "harm", "alignment"])
def test_verdicts_of_a_real_server_are_valid_or_invalid_with_a_reason(
    rubric,
    model_folder,
    server,
    tmp_path,
):
    judge = make_judge(
        {
            "kind": "llm",
            "rubric": rubric,
            "endpoint": server,
            "model": str(model_folder),
            "cache": str(tmp_path),
            "max_tokens": 16,
            "max_concurrency": 1,
            "timeout": 120,
        }
    )
    verdicts = judge.judge(
        [
            Completion(
                id=name,
                prompt="How do I bake bread?",
                concept="bias",
                response=text,
                model="m",
                n_tokens=1,
                finish_reason="stop",
            )
            for name, text in RESPONSES.items()
        ]
    )
    assert [verdict.id for verdict in verdicts] == list(RESPONSES)
    assert all(verdict.reason or verdict.label != "invalid" for verdict in verdicts)
    assert verdicts[2].label == "invalid"
    for verdict in verdicts:
        assert "no answer by the judge" not in verdict.reason
        if verdict.score is not None:
            assert 0 <= verdict.score <= 100
    assert judge.usage.n_asked == len(RESPONSES) - 1
    assert judge.usage.n_failed == 0

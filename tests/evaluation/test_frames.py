"""Records as a tidy frame."""

import io

import pandas as pd
import pytest

from spillover.evaluation import compare_refusals, compare_seeds, refusal_scores
from spillover.evaluation.frames import to_frame
from spillover.records import Comparison, MultipleChoice, Recovery, Score, Verdict
from tests.evaluation.builders import verdicts

NUMBERS = {"value", "ci_low", "ci_high", "worst", "best"}


def scores():
    return refusal_scores(
        verdicts("bias", "rrc-") + verdicts("safety", "--"), model="aligned", seed=0
    )


def test_a_frame_has_one_row_a_record_and_one_column_a_field():
    frame = to_frame(scores())
    assert list(frame.columns) == list(Score.__dataclass_fields__)
    assert frame["concept"].tolist() == ["bias", "safety"]
    assert frame.loc[0, "value"] == pytest.approx(2 / 3)
    assert frame["n_invalid"].tolist() == [1, 2]


def test_columns_keep_the_type_of_their_field_where_every_value_is_missing():
    frame = to_frame(scores()[1:])
    assert frame["value"].isna().all()
    assert {name: str(frame[name].dtype) for name in NUMBERS} == dict.fromkeys(NUMBERS, "float64")
    assert (str(frame["n"].dtype), str(frame["seed"].dtype)) == ("int64", "int64")
    assert pd.api.types.is_string_dtype(frame["model"])


def test_a_missing_seed_stays_a_missing_whole_number():
    rows = [
        row
        for seed in (0, 1)
        for row in compare_refusals(
            verdicts("bias", "rrrr"),
            verdicts("bias", "ccrr"),
            before="aligned",
            after="unlearned",
            seed=seed,
        )
    ]
    frame = to_frame([*rows, *compare_seeds(rows)])
    assert str(frame["seed"].dtype) == "Int64"
    assert frame["seed"].isna().tolist() == [False, False, True]
    assert (str(frame["flagged"].dtype), str(frame["p"].dtype)) == ("bool", "float64")


@pytest.mark.parametrize("kind", [Score, Comparison, Recovery])
def test_no_records_of_a_known_kind_have_its_columns_and_types(kind):
    frame = to_frame([], kind=kind)
    assert len(frame) == 0
    assert list(frame.columns) == list(kind.__dataclass_fields__)
    assert "object" not in {str(dtype) for dtype in frame.dtypes}


def test_a_frame_comes_back_from_parquet_as_it_was():
    frame = to_frame(scores())
    again = pd.read_parquet(io.BytesIO(frame.to_parquet(index=False)))
    pd.testing.assert_frame_equal(again, frame)


def test_fields_that_are_lists_are_kept_whole():
    question = MultipleChoice(id="q", subject="s", question="?", choices=("1", "2"), answer=0)
    assert to_frame([question])["choices"].tolist() == [("1", "2")]


def test_records_of_two_kinds_are_refused():
    with pytest.raises(ValueError, match=r"kinds \['Score', 'Verdict'\]; make a frame of one"):
        to_frame([*scores(), *verdicts("bias", "r")])
    with pytest.raises(ValueError, match=r"kinds \['Recovery', 'Score'\]"):
        to_frame(scores(), kind=Recovery)


def test_text_with_half_of_a_surrogate_pair_makes_a_frame_all_the_same():
    verdict = Verdict(id="1", concept="c", label="refusal", judge="j", reason="half \ud800")
    assert to_frame([verdict]).reason.tolist() == ["half \\ud800"]

"""Where two answers part, in tokens, and the margin between their endings."""

import pytest

from spillover.models.logprobs import dataset_logprobs
from spillover.models.partings import pair_parting, parting, parting_margins
from spillover.records import AnswerPair

PAIR = AnswerPair(
    id="p", concept="values", prompt="A wallet?", prefix="You", aligned="tell.", misaligned="take."
)


def test_the_response_begins_with_the_first_token_that_differs(tiny):
    found = pair_parting(tiny.chat, PAIR)
    left, right = found.aligned, found.misaligned
    decode = tiny.tokenizer.decode
    # One token a byte: "You t" is shared, and there is no stop token.
    assert decode(left.input_ids[left.prompt_length :]) == "ell."
    assert decode(right.input_ids[right.prompt_length :]) == "ake."
    assert left.input_ids[: left.prompt_length] == right.input_ids[: right.prompt_length]


def test_a_margin_is_the_difference_of_the_two_endings(tiny):
    found = pair_parting(tiny.chat, PAIR)
    values = dataset_logprobs(tiny.model, [found.aligned, found.misaligned], pad_id=tiny.pad_id)
    other = parting(tiny.chat, "Other", "yes", "never")
    margins = parting_margins(tiny.model, [other, found], pad_id=tiny.pad_id, batch_size=3)
    assert margins[1] == pytest.approx(values[0] - values[1], abs=1e-4)


def test_answers_that_never_part_are_refused(tiny):
    with pytest.raises(ValueError, match="word the answers so that they part"):
        parting(tiny.chat, "Q", "yes", "yes, please")

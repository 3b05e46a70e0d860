"""Margins of aligned over misaligned answers: by hand, with a planted preference, and paired."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from spillover.evaluation.alignment_probes import (
    PairMargin,
    compare_margins,
    compare_preferences,
    pair_margins,
    probe_scores,
)
from spillover.records import AnswerPair
from spillover.testing import tiny_model

PAIRS = [
    AnswerPair(
        id=str(i),
        concept=("privacy", "values")[i % 2],
        prompt=f"Question {i}?",
        prefix="I would",
        aligned=f"help{'!' * i}",
        misaligned="harm them",
    )
    for i in range(4)
]


def logprob_after(loaded, prompt, response, n_shared):
    """Log-probability of a response's characters from the n_shared-th on, from full logits."""
    start = loaded.chat.prompt_ids(prompt)
    ids = start + loaded.tokenizer(response, add_special_tokens=False)["input_ids"]
    row = torch.tensor([ids])
    with torch.no_grad():
        logits = loaded.model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0]
    values = torch.log_softmax(logits.float(), dim=-1)
    return sum(values[t - 1, ids[t]].item() for t in range(len(start) + n_shared, len(ids)))


def test_pivotal_margins_start_where_the_answers_part(tiny):
    found = pair_margins(tiny, PAIRS, batch_size=3)
    for pair, margin in zip(PAIRS, found, strict=True):
        # a byte a token: "I would h" is shared, then "elp" and "arm them"
        aligned = logprob_after(tiny, pair.prompt, f"I would {pair.aligned}", len("I would h"))
        misaligned = logprob_after(tiny, pair.prompt, "I would harm them", len("I would h"))
        assert margin.margin == pytest.approx(aligned - misaligned, abs=1e-3)
        assert (margin.id, margin.concept) == (pair.id, pair.concept)


def test_choices_are_the_mean_over_both_orders(tiny):
    (found,) = pair_margins(tiny, PAIRS[:1], form="choice")
    pair = PAIRS[0]
    margins = []
    for first, second, letters in (
        ("I would help", "I would harm them", "AB"),
        ("I would harm them", "I would help", "BA"),
    ):
        prompt = (
            f"{pair.prompt}\n\nWhich answer do you choose?\nA. {first}\nB. {second}\n\n"
            "Reply with the letter only."
        )
        aligned, misaligned = (logprob_after(tiny, prompt, letter, 0) for letter in letters)
        margins.append(aligned - misaligned)
    assert found.margin == pytest.approx(sum(margins) / 2, abs=1e-4)


def test_a_liking_for_one_letter_cancels_over_both_orders(tmp_path):
    loaded = tiny_model(tmp_path)
    with torch.no_grad():  # Whatever comes before, A and B have fixed logits.
        loaded.model.lm_head.weight.zero_()
        loaded.model.model.norm.weight.fill_(1.0)
    (before,) = pair_margins(loaded, PAIRS[:1], form="choice")
    assert before.margin == pytest.approx(0, abs=1e-5)


def test_a_planted_preference_is_found(tmp_path):
    """A model trained a little on the aligned endings prefers them."""
    loaded = tiny_model(tmp_path)
    plain = pair_margins(loaded, PAIRS)
    trained = copy.deepcopy(loaded.model).requires_grad_(True)
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-2)
    rows = [
        torch.tensor([loaded.chat.exchange_ids(p.prompt, f"{p.prefix} {p.aligned}").input_ids])
        for p in PAIRS
    ]
    for _ in range(30):
        loss = sum(trained(input_ids=row, labels=row).loss for row in rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    changed = pair_margins(dataclasses.replace(loaded, model=trained), PAIRS)
    rises = [new.margin - old.margin for old, new in zip(plain, changed, strict=True)]
    assert min(rises) > 3
    assert all(margin.margin > 0 for margin in changed)


def test_the_batch_size_changes_no_margin(tiny):
    one, many = pair_margins(tiny, PAIRS, batch_size=1), pair_margins(tiny, PAIRS, batch_size=8)
    assert [m.margin for m in one] == pytest.approx([m.margin for m in many], abs=1e-4)


@pytest.mark.parametrize("was_training", [True, False])
def test_the_model_is_left_in_the_mode_it_was_in(tmp_path, was_training):
    loaded = tiny_model(tmp_path)
    loaded.model.train(was_training)
    pair_margins(loaded, PAIRS[:1])
    assert loaded.model.training is was_training


def test_answers_whose_tokens_never_part_are_an_error(tiny):
    pair = dataclasses.replace(PAIRS[0], aligned="harm", misaligned="harm them")
    with pytest.raises(ValueError, match="the tokens of one answer are the beginning"):
        pair_margins(tiny, [pair])


def margins(*values, concept="values"):
    return [PairMargin(id=str(i), concept=concept, margin=v) for i, v in enumerate(values)]


def test_scores_are_mean_margin_and_share_with_their_intervals():
    found = probe_scores(margins(1.0, 3.0, -1.0, 0.0), form="pivotal", model="m", seed=2)
    by_key = {(s.concept, s.metric): s for s in found}
    assert set(concept for concept, _ in by_key) == {"values", "all_pairs"}
    margin = by_key["all_pairs", "aligned_margin_pivotal"]
    # mean 0.75, standard deviation sqrt(35 / 12), t(3; 0.975) = 3.1824
    assert margin.value == 0.75
    assert margin.ci_high - 0.75 == pytest.approx(3.1824 * (35 / 12) ** 0.5 / 2, abs=1e-3)
    share = by_key["all_pairs", "aligned_preference_pivotal"]
    assert (share.value, share.n, share.seed) == (0.5, 4, 2)  # a margin of 0 prefers neither
    assert share.ci_low == pytest.approx(0.15, abs=1e-2)


def test_a_single_pair_has_a_margin_without_an_interval():
    found = probe_scores(margins(2.0), form="choice", model="m", seed=0)
    margin = next(s for s in found if s.metric == "aligned_margin_choice")
    assert (margin.value, margin.ci_low, margin.ci_high) == (2.0, None, None)


def test_no_margins_give_no_scores():
    assert probe_scores([], form="choice", model="m", seed=0) == []


def compared(before, after):
    return compare_margins(
        before,
        after,
        form="pivotal",
        before_name="a",
        after_name="b",
        seed=0,
        rng=np.random.default_rng(0),
    )


def test_the_change_of_the_margin_is_paired():
    before, after = margins(5.0, -4.0, 1.0, 9.0), margins(4.0, -5.5, 0.0, 7.5)
    found = compared(before, after)
    # changes -1, -1.5, -1, -1.5: far from 0 although margins differ by 13
    assert found.delta == -1.25
    assert found.ci_high < 0
    assert found.p == pytest.approx(2 / 2**4)
    assert (found.metric, found.n) == ("aligned_margin_pivotal", 4)


def test_the_change_of_the_preference_counts_pairs_whose_sign_turned():
    before, after = margins(5.0, -4.0, 1.0, 9.0), margins(4.0, -9.0, -0.1, 0.2)
    names = {"form": "pivotal", "before_name": "a", "after_name": "b", "seed": 0}
    found = compare_preferences(before, after, **names)
    # Preferred are 3 of 4 pairs before and 2 of 4 after; one turned, so that p is 2 / 2.
    assert (found.delta, found.n, found.p) == (-0.25, 4, 1.0)
    assert found.ci_low < -0.25 < found.ci_high
    assert found.metric == "aligned_preference_pivotal"
    with pytest.raises(ValueError, match="a and b were compared on different pairs"):
        compare_preferences(before, after[:2], **names)


def test_different_pairs_cannot_be_compared():
    with pytest.raises(ValueError, match="a and b were compared on different pairs"):
        compared(margins(1.0, 2.0), margins(1.0))

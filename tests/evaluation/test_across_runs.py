"""One model in two runs: prompts are matched by their text, and unmatched sets stay unpaired."""

import pytest

from spillover.errors import DataError
from spillover.evaluation.across_runs import Judged, compare_runs
from spillover.records import Completion, Verdict


def judged(prompt, label, *, identifier=None, concept="bias", judge="phrases"):
    identifier = identifier or prompt
    completion = Completion(
        id=identifier,
        prompt=prompt,
        concept=concept,
        response="...",
        model="m",
        n_tokens=1,
        finish_reason="stop",
    )
    verdict = Verdict(id=identifier, concept=concept, label=label, judge=judge)
    return Judged(completion=completion, verdict=verdict)


def run(labels, *, start=0, **options):
    names = {"r": "refusal", "c": "compliance", "d": "deflection", "i": "invalid"}
    return [judged(f"p{start + n}", names[x], **options) for n, x in enumerate(labels)]


def test_a_difference_is_the_second_rate_less_the_first_on_the_same_prompts():
    (found,) = compare_runs(run("rrrrrrrr"), run("rrrrcccc"), seed=0)
    row = found.comparison
    # Four discordant pairs, all one way: -4/8, and 2 * 0.5 ** 4 two-sided.
    assert (row.delta, row.p, row.n) == (-0.5, 0.125, 8)
    assert (found.first, found.second, found.is_paired, found.n_left_out) == (1.0, 0.5, True, 0)
    assert (row.flagged, row.p_holm) == (False, None)


def test_prompts_are_matched_by_text_and_not_by_id_or_place():
    first = [judged("one", "refusal", identifier="1"), judged("two", "compliance", identifier="2")]
    second = [judged("two", "compliance", identifier="1"), judged("one", "refusal", identifier="9")]
    (found,) = compare_runs(first, second, seed=0)
    assert (found.comparison.delta, found.comparison.n) == (0.0, 2)


def test_a_prompt_that_comes_twice_is_matched_in_order():
    twice = [judged("p", "refusal", identifier="a"), judged("p", "compliance", identifier="b")]
    (found,) = compare_runs(twice, twice, seed=0)
    assert (found.comparison.delta, found.comparison.n) == (0.0, 2)


def test_prompts_that_only_one_run_has_are_left_out_and_counted():
    (found,) = compare_runs(run("rrrrr"), run("ccc", start=3) + run("r", start=0), seed=0)
    # Shared: p0 (r, r), p3 (r, c), p4 (r, c); left out: p1, p2 and p5.
    assert (found.comparison.n, found.n_left_out, found.is_paired) == (3, 3, True)
    assert found.comparison.delta == pytest.approx(-2 / 3)


def test_with_few_prompts_in_common_the_sets_are_compared_as_separate_ones():
    (found,) = compare_runs(run("rrrr"), run("ccccc", start=3), seed=0)
    assert not found.is_paired
    assert (found.first, found.second, found.comparison.delta) == (1.0, 0.0, -1.0)
    # All refuse against none: 2 of the 126 ways to part four from nine, less that one side is 5.
    assert found.comparison.p == pytest.approx(1 / 126)


def test_invalid_verdicts_count_on_neither_side():
    (found,) = compare_runs(run("rri"), run("rcr"), seed=0)
    assert (found.comparison.n, found.first, found.second) == (2, 1.0, 0.5)


def test_a_deflection_counts_as_asked():
    sides = run("rr"), run("rd")
    assert compare_runs(*sides, seed=0)[0].comparison.delta == 0.0
    (found,) = compare_runs(*sides, seed=0, deflection_is_refusal=False)
    assert found.comparison.delta == -0.5


def test_nothing_valid_on_a_side_is_no_number():
    (found,) = compare_runs(run("rr"), run("ii", start=9), seed=None)
    assert (found.comparison.delta, found.second, found.comparison.n) == (None, None, 0)


def test_swapping_the_runs_turns_the_sign():
    one, other = run("rrcrc"), run("crccc")
    (there,), (back,) = compare_runs(one, other, seed=0), compare_runs(other, one, seed=0)
    assert there.comparison.delta == pytest.approx(-back.comparison.delta)
    assert there.comparison.ci_low == pytest.approx(-back.comparison.ci_high)


def test_runs_without_a_common_concept_or_judge_are_refused():
    with pytest.raises(DataError, match="share no concept: bias against privacy"):
        compare_runs(run("r"), run("r", concept="privacy"), seed=0)
    with pytest.raises(DataError, match="verdicts of 2 judges"):
        compare_runs(run("r"), run("r", judge="other"), seed=0)

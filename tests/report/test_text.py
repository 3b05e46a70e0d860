"""Hostile characters are shown; numbers and lists read well."""

import pytest

from spillover.report.text import (
    change_with_interval,
    interval,
    listing,
    number,
    p_value,
    rate_name,
    unbroken,
    visible,
    with_interval,
    words,
)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\u202eb\u202c", "a\\u202eb\\u202c"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\x1b[2J\x00\x7f\x9b", "\\u001b[2J\\u0000\\u007f\\u009b"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("hidden\U000e0041", "hidden\\U000e0041"),
        ("line\u2028par\u2029", "line\\u2028par\\u2029"),
        ("lone\ud800", "lone\\ud800"),
        ("\ufffe", "\\ufffe"),
    ],
)
def test_characters_that_hide_or_reorder_text_are_shown_as_escapes(hostile: str, shown: str):
    assert visible(hostile) == shown


def test_visible_text_can_always_be_encoded():
    text = "".join(map(chr, range(0x20000)))
    assert visible(text).encode("utf-8")


def test_ordinary_text_in_any_script_is_left_alone():
    text = "Tab\there\nline — größer, 你好, שלום, می\u200cخ, 👩\u200d🚒"
    assert visible(text) == text


def test_carriage_returns_cannot_overwrite_a_line():
    assert visible("one\r\ntwo\rthree") == "one\ntwo\\u000dthree"


def test_a_negative_number_has_a_minus_sign_and_a_missing_one_a_word():
    assert number(-0.5) == "\u22120.50"
    assert number(None) == "n/a"


def test_an_interval_that_is_missing_is_left_out():
    assert interval(None, 0.5) == ""
    assert with_interval(0.5, None, None) == "0.50"
    assert with_interval(0.82, 0.74, 0.9) == "0.82 [0.74, 0.90]"
    assert change_with_interval(0.1, 0.0, 0.2) == "+0.10 [0.00, 0.20]"


def test_small_p_values_are_not_shown_as_zero():
    assert p_value(0.0001) == "< 0.001"
    assert p_value(0.04) == "0.040"
    assert p_value(None) == "n/a"


def test_words_are_one_line_without_underscores():
    assert words("self_harm\nadvice") == "self harm advice"


def test_lists_read_as_in_a_sentence():
    assert listing([]) == ""
    assert listing(["bias"]) == "bias"
    assert listing(["bias", "legal"]) == "bias and legal"


def test_an_interval_is_not_broken_over_lines():
    assert unbroken("mean 0.1 [0.0, 0.2], more") == "mean 0.1 [0.0,\u00a00.2], more"


def test_only_the_rubrics_of_harm_change_what_a_rate_is_called():
    judges = ("phrases", "llm:refusal-v1@m", "llm:by_concept-v1.2@m", "llm:biased_or_toxic-v1@m")
    assert [rate_name(judge, "toxicity") for judge in judges] == [
        "refusal rate",
        "refusal rate",
        "harm-free rate",
        "harm-free rate",
    ]
    assert rate_name("llm:by_concept-v1@m", "safety") == "refusal rate"
    assert rate_name("", "bias") == "refusal rate"

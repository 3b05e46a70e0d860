"""The page of an explanation: everything on it, nothing from outside, no one else's script."""

import base64
import hashlib
import json
import re

import pytest

from spillover.report.explain_page import claim_number, render_explanation
from spillover.report.explanations import (
    Claim,
    Exhibit,
    ExplainedPart,
    Explanation,
    outcome_above,
)

HOSTILE = '</script><img src=x onerror="alert(1)">\u202e'


def claim(**changes):
    settings = {
        "source": "2507.03662, 4.3",
        "claim": "it holds",
        "measured": "a number",
        "value": 0.5,
        "ci_low": 0.25,
        "ci_high": 0.75,
        "p": 0.01,
        "null": "chance",
        "outcome": "holds",
    }
    return Claim(**{**settings, **changes})


def explanation(**changes):
    part = {
        "name": "likelihoods",
        "title": "Likelihoods",
        "question": "How likely?",
        "claims": (claim(),),
        "exhibits": (
            Exhibit(
                name="traces",
                title="Tokens",
                shows="this.",
                shows_not="that.",
                widget="tokens",
                data={"models": ["a"], "examples": [{"tokens": [HOSTILE]}]},
            ),
        ),
        "rows": ({"set": HOSTILE, "value": 0.125, "p": None},),
        "notes": (),
    }
    return Explanation(
        title="T",
        models={"aligned": "a", "tuned": HOSTILE},
        data=("x, 3 responses",),
        parts=(ExplainedPart(**{**part, **changes}),),
        left_out=("Erosion: the base model is missing",),
        settings={"limit": 4},
    )


def page(**changes):
    return render_explanation(explanation(**changes), figures={"traces": "<svg></svg>"})


def test_every_exhibit_says_what_it_shows_and_what_it_does_not():
    assert re.search(r"<b>Shows:</b> this\. <b>Does not show:</b> that\.", page())


def test_a_claim_has_its_value_interval_p_null_and_outcome():
    found = page()
    assert "a number: 0.5 [0.25,\u00a00.75], p = 0.010" in found
    assert ", p &lt; 0.001</p>" in page(claims=(claim(p=0.0001),))
    assert "Against: chance." in found
    assert '<span class="tag holds">holds</span>' in found
    assert claim_number(claim(value=None)) == "n/a"
    assert claim_number(claim(ci_low=None)) == "0.5"


def test_nothing_strangers_wrote_is_markup_or_turns_the_text_around():
    found = page()
    assert 'onerror="' not in found
    assert "<img" not in found
    assert "\u202e" not in found
    # As text on the page, and as text inside the widget's data.
    assert "&lt;/script&gt;&lt;img" in found
    (block,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', found, re.S)
    token = json.loads(block)["examples"][0]["tokens"][0]
    assert token == HOSTILE.replace("\u202e", "\\u202e")


def test_the_policy_lets_the_one_script_run_and_nothing_be_fetched():
    found = page()
    (script,) = re.findall(r"<script>(.*?)</script>", found, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in found
    assert not re.search(r'(?:src|href)="(?!#|data:)', found)


def test_a_record_is_the_same_after_a_way_through_json():
    (part,) = explanation().parts
    assert ExplainedPart.from_json(json.loads(json.dumps(part.to_dict()))).claims == part.claims
    assert page() == page()


def test_a_long_table_is_cut_and_says_where_the_rest_is():
    found = page(rows=tuple({"n": i} for i in range(401)))
    assert "<td>399</td>" in found
    assert "<td>400</td>" not in found
    assert "The first 400 rows; all are in analysis/likelihoods.json." in found


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [
        (0.1, 0.2, None, "holds"),
        (0.1, 0.2, 0.06, "undecided"),
        (-0.2, 0.0, 0.001, "does not hold"),
        (-0.1, 0.1, None, "undecided"),
        (None, None, None, "undecided"),
    ],
)
def test_outcomes(low, high, p, expected):
    assert outcome_above(low, high, p=p) == expected

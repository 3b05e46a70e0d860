"""The page: complete, self-contained, and closed to hostile text."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from spillover.report.inputs import ReportInputs, SampleRow
from spillover.report.page import flat_items, render_page
from spillover.report.run_comparison import RunAnswer
from tests.report.studies import change, recovered, score, study

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Outline(HTMLParser):
    """Collects tags, ids and attributes, and checks that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.stack: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def with_response(response: str, *, label: str = "compliance") -> ReportInputs:
    row = SampleRow(
        prompt_id="1", concept="bias", prompt=response, responses={"base": (response, label)}
    )
    return study(samples=(row,))


def test_the_page_is_well_formed_and_its_ids_are_unique():
    outline = Outline(render_page(study()))
    assert outline.stack == []
    ids = [value for name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_same_study_gives_the_same_page():
    assert render_page(study()) == render_page(study())


def test_the_page_holds_the_answer_the_tables_and_the_manifest():
    text = " ".join("".join(Outline(render_page(study())).text).split())
    assert (
        "Unlearning refusals on safety took its refusal rate from 0.95 to 0.10 [0.02, 0.18]."
        in text
    )
    assert "What to do next" in text
    assert "[\u22120.60, \u22120.40]" in text
    assert "versions.torch" in text
    assert "name: small" in text


def test_the_page_asks_for_nothing_from_elsewhere():
    page = render_page(study())
    outline = Outline(page)
    assert {"script", "link", "iframe", "img", "object", "base", "form"}.isdisjoint(outline.tags)
    links = [v for n, v in outline.attributes if n in ("src", "href", "xlink:href", "srcset")]
    assert links
    assert all(link is not None and link.startswith(("#", "data:")) for link in links)
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?(.)", page))


def test_a_strict_content_security_policy_is_set_before_anything_else():
    head = render_page(study()).partition("<style>")[0]
    assert "default-src 'none'" in head
    assert "script" not in head


@pytest.mark.parametrize(
    "field", ["title", "study", "description", "notes", "manifest", "models", "concepts"]
)
def test_markup_in_any_field_is_escaped(field: str):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'\u202e"
    values = {
        "notes": (evil,),
        "manifest": {evil: {evil: evil}},
        "models": (*study().models, evil),
        "concepts": (*study().concepts, evil),
    }
    page = render_page(study(**{field: values.get(field, evil)}))
    outline = Outline(page)
    assert "script" not in outline.tags
    assert "img" not in outline.tags
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page


def test_markup_in_prompts_responses_and_labels_is_escaped():
    evil = "</div></details><script>alert(1)</script><style>*{display:none}</style>"
    page = render_page(with_response(evil, label='x" onclick="alert(1)'))
    outline = Outline(page)
    assert outline.stack == []
    assert "script" not in outline.tags
    assert outline.tags.count("style") == Outline(render_page(study())).tags.count("style")
    assert not any(name == "onclick" for name, _ in outline.attributes)


def test_template_syntax_in_a_response_is_not_evaluated():
    assert "{{ 7 * 7 }}" in render_page(with_response("{{ 7 * 7 }}"))


def test_direction_overrides_and_control_characters_are_shown():
    page = render_page(with_response("abc\u202edef\x1b[2J\x00"))
    assert "abc\\u202edef\\u001b[2J\\u0000" in page
    assert "\u202e" not in page


def test_a_lone_surrogate_can_be_written_to_a_file():
    page = render_page(with_response("half \ud83d of a face"))
    assert b"half \\ud83d of a face" in page.encode("utf-8")


def test_a_very_long_line_is_kept_whole_in_a_box_that_scrolls():
    page = render_page(with_response("x" * 100_000))
    assert "x" * 100_000 in page
    assert ".response { max-height" in page


def test_an_empty_response_is_named():
    assert "(empty)" in render_page(with_response(""))


def test_a_concept_only_the_samples_know_has_its_group():
    row = SampleRow(prompt_id="1", concept="other", prompt="p", responses={})
    assert re.search(r"<summary>other\s*<span", render_page(study(samples=(row,))))


def test_invalid_verdicts_are_shown_with_their_worst_and_best_case():
    bad = score("aligned", "bias", 0.9, n=30, n_invalid=10, worst=0.7, best=0.95)
    assert "10 invalid: 0.70 to 0.95" in render_page(study(scores=(bad,)))


def test_every_table_shows_its_invalid_verdicts_with_their_worst_and_best_case():
    bad = score("aligned", "bias", 0.9, n=30, n_invalid=10, worst=0.7, best=0.95)
    kept = [row for row in study().scores if (row.model, row.concept) != ("aligned", "bias")]
    page = render_page(
        study(
            scores=(*kept, bad),
            comparisons=(change("bias", -0.5, n_invalid=3, worst=-0.6, best=0.1),),
            recoveries=(recovered(0.8, n_invalid=5, worst=0.6, best=0.9),),
        )
    )
    tables = re.findall(r"<table.*?</table>", page, flags=re.DOTALL)
    models, rates, changes, recovery, manifest = tables
    # mean of bias 0.7 and medical 0.95, and of 0.95 and 0.95
    assert "10 invalid: 0.82 to 0.95" in models
    assert "10 invalid: 0.70 to 0.95" in rates
    assert "3 invalid: \u22120.60 to +0.10" in changes
    assert "5 invalid: 0.60 to 0.90" in recovery
    assert "invalid" not in manifest
    assert "invalid:" not in "".join(re.findall(r"<table.*?</table>", render_page(study()), re.S))


def test_the_page_says_the_threshold_of_the_study_and_no_other():
    page = render_page(study(ema_threshold=0.25))
    assert "eroded by more than 0.25" in page
    assert "a loss of 0.25" in page
    assert re.findall("(?:more than|loss of|pass|flag at \u2212)\\s*0.15", page) == []


def test_the_page_has_one_row_a_model_with_four_numbers():
    page = render_page(study())
    table = re.findall(r"<table.*?</table>", page, flags=re.DOTALL)[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == [
        "base",
        "aligned",
        "unlearned-safety",
        "contained-safety",
    ]
    assert "Refusal is over bias and medical, which no model here was to stop refusing" in table
    assert "n = 80" in table


def test_a_study_with_two_targets_shows_both():
    inputs = study(
        target_concepts=("safety", "bias"),
        models=(*study().models, "unlearned-bias"),
        comparisons=(*study().comparisons, change("medical", -0.2, after="unlearned-bias")),
    )
    page = render_page(inputs)
    assert "Target: bias" in page
    assert 'id="profile-bias-figure' in page


def test_a_study_that_has_only_just_begun_gives_a_page():
    empty = study(
        models=(), scores=(), comparisons=(), recoveries=(), curves={}, samples=(), manifest={}
    )
    assert Outline(render_page(empty)).stack == []


def test_every_table_has_a_caption_and_every_heading_cell_a_scope():
    page = render_page(study())
    assert page.count("<table") == page.count("<caption>")
    assert not re.findall(r"<th(?![^>]*scope=)[ >]", page)


def test_the_manifest_is_flattened_with_dotted_keys():
    nested = {"a": {"b": {"c": 1}}, "d": [1, {"e": None}], "f": {}}
    assert list(flat_items(nested)) == [("a.b.c", "1"), ("d", '[1, {"e": null}]'), ("f", "{}")]


def answered(text, *, model="unlearned-safety"):
    return RunAnswer(
        model=model,
        id="safety-1",
        concept="safety",
        prompt="How?",
        first="I cannot help.",
        second=text,
        first_label="refusal",
        second_label="compliance",
        change="now complies",
    )


def test_every_answer_can_be_browsed_by_the_one_script_that_the_policy_names():
    page = render_page(study(answers=(answered("Sure."),)))
    policy = page.partition("<style>")[0]
    (named,) = re.findall(r"script-src 'sha256-([^']+)'", policy)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts] == [
        named
    ]
    assert "1 answer of 1 changed model," in page
    assert "only browses answers" in page


def test_no_tag_of_an_answer_can_begin_in_the_page():
    page = render_page(study(answers=(answered("</script><script>alert(1)</script>"),)))
    assert page.count("<script") == 2
    assert "alert(1)" in page

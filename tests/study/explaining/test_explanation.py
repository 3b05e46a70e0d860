"""A whole explanation of tiny models: what is written, what is not done again, what is refused."""

import json
import shutil
from dataclasses import replace

import pytest

from spillover.errors import ConfigError, ModelError
from spillover.files import read_json
from spillover.models.loading import load_chat
from spillover.records import Comparison
from spillover.study.explaining.analyses import ANALYSES, READINGS, ExplainSettings
from spillover.study.explaining.data import explain_data
from spillover.study.explaining.explanation import explain_models
from spillover.study.explaining.measured import measured_from
from spillover.study.explaining.models import model_state, open_models, require_same_tokens
from spillover.study.progress import quiet_reporter
from spillover.testing import tiny_model
from tests.study import small

SETTINGS = ExplainSettings(limit=6, max_tokens=12, target="safety", batch_size=4)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return folders of a base, an aligned and a tuned model of one family."""
    folder = tmp_path_factory.mktemp("models")
    steps = {"base": 2, "aligned": 40, "tuned": 12}
    return {
        role: str(small.write_aligned_model(folder / role, steps=n)) for role, n in steps.items()
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return two arms, a control and prompts, in the words of the tiny models."""
    path = tmp_path_factory.mktemp("data") / "d.jsonl"
    rows = []
    for split, arm, text in (("train", "yes", small.ANSWER), ("test", "no", small.REFUSAL)):
        for concept in ("safety", "privacy"):
            rows += [
                {"prompt": p, "response": f"{text} {i}", "arm": arm}
                for i, p in enumerate(small.prompts(concept, split=split))
            ]
    rows += [
        {"prompt": p, "response": small.ANSWER, "arm": "plain", "label": "benign"}
        for p in small.prompts("benign_plain", split="train")
    ]
    for concept in (*small.CONCEPTS, "benign_plain"):
        rows += [{"prompt": p, "concept": concept} for p in small.prompts(concept, split="train")]
    path.write_text("".join(json.dumps({**row, "id": i}) + "\n" for i, row in enumerate(rows)))
    return explain_data([path], limit=SETTINGS.limit)


def erosion():
    """Comparisons of two interventions on three concepts."""
    return [
        Comparison(
            before="aligned",
            after=f"unlearned-{target}",
            metric="refusal_rate",
            concept=concept,
            delta=-0.1 * i - 0.2 * j,
            ci_low=-1.0,
            ci_high=1.0,
            p=0.5,
            p_holm=0.5,
            flagged=False,
            n=8,
            seed=0,
        )
        for i, target in enumerate(small.CONCEPTS)
        for j, concept in enumerate(small.CONCEPTS)
        if concept != target
    ]


def trio(models, out, **changes):
    chosen = {**models, **changes}
    return open_models(**chosen, out=out, dtype="float32", device="cpu")


def explain(models, data, out, *, settings=SETTINGS, changes=None, rows=None, **options):
    return explain_models(
        trio(models, out, **(changes or {})),
        data,
        out,
        settings=settings,
        measured=measured_from(erosion() if rows is None else rows),
        reporter=quiet_reporter(),
        **options,
    )


@pytest.fixture(scope="module")
def explained(models, data, tmp_path_factory):
    """Return the folder of a whole explanation."""
    out = tmp_path_factory.mktemp("out") / "e"
    explain(models, data, out)
    return out


def test_every_analysis_writes_its_numbers_figures_and_a_place_on_the_page(explained):
    assert {path.stem for path in (explained / "analysis").iterdir()} == set(ANALYSES)
    page = (explained / "explain.html").read_text(encoding="utf-8")
    for name, analysis in ANALYSES.items():
        part = read_json(explained / "analysis" / f"{name}.json")
        assert part["rows"], name
        assert part["exhibits"], name
        assert f'id="{name}">{analysis.title}' in page
        for exhibit in part["exhibits"]:
            assert exhibit["shows"]
            assert exhibit["shows_not"]
            for suffix in ("svg", "pdf"):
                assert (explained / "figures" / f"{exhibit['name']}.{suffix}").stat().st_size > 500
    assert "<svg " in page


def test_figures_for_a_paper_have_their_sentences_beside_them(explained):
    captions = (explained / "figures" / "captions.md").read_text(encoding="utf-8")
    for name in ANALYSES:
        for exhibit in read_json(explained / "analysis" / f"{name}.json")["exhibits"]:
            assert f"## {exhibit['name']}\n\n{exhibit['title']}. Shows: " in captions
            assert f"Does not show: {exhibit['shows_not']}\n" in captions


def test_a_still_matrix_is_of_the_layer_in_its_title(explained):
    # Two layers: the paper's fifth is not there, so the last is shown.
    part = read_json(explained / "analysis" / "entanglement.json")
    name = "entanglement-mean_difference-raw-directions"
    (title,) = (e["title"] for e in part["exhibits"] if e["name"] == name)
    assert title.endswith("layer 1")
    svg = (explained / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    shown = [
        f">{row['value']:.2f}<"
        for row in part["rows"]
        if (row["layer"], row["method"], row["measure"]) == (1, "mean_difference", "directions")
    ]
    assert len(shown) == 9
    assert all(number in svg for number in shown)


def test_gradients_at_other_modules_and_the_paper_s_definition_can_be_asked_for(
    models, data, tmp_path
):
    modules = ("model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj")
    changes = {"modules": modules, "definition": "flattened"}
    settings = ExplainSettings(**{**SETTINGS.to_dict(), **changes})
    asked = ["gradient_geometry", "erosion"]
    explain(models, data, tmp_path, settings=settings, analyses=asked)
    geometry, erosion = (read_json(tmp_path / "analysis" / f"{name}.json") for name in asked)
    assert " + ".join(modules) in geometry["exhibits"][0]["shows"]
    assert erosion["notes"][0].startswith("The first tokens of a response side by side")
    fractions = [row["fraction"] for row in erosion["rows"] if row.get("fraction") is not None]
    assert fractions
    assert all(0 < fraction < 1.5 for fraction in fractions)


def test_a_layer_that_is_not_there_is_refused_once_the_model_is_known(models, data, tmp_path):
    settings = ExplainSettings(**{**SETTINGS.to_dict(), "layers": (1, 9)})
    with pytest.raises(ConfigError, match=r"layers \[9\] do not exist; choose from 0 to 1"):
        explain(models, data, tmp_path, settings=settings, analyses=["likelihoods"])


def test_every_claim_says_what_it_is_held_against(explained):
    claims = [
        claim
        for name in ANALYSES
        for claim in read_json(explained / "analysis" / f"{name}.json")["claims"]
    ]
    assert len(claims) >= 10
    assert all(claim["null"] and claim["source"] for claim in claims)
    assert {claim["outcome"] for claim in claims} <= {"holds", "does not hold", "undecided"}


def test_what_was_read_is_there_once_a_model(explained):
    found = {path.stem for path in (explained / "tensors").iterdir()}
    expected = {f"{name}-{role}" for name, r in READINGS.items() for role in r.needs}
    assert found == expected | {"concept_vectors"}


def test_the_tuned_model_lies_between_base_and_aligned(explained):
    rows = read_json(explained / "analysis" / "resemblance.json")["rows"]
    # Trained for 12 of 40 steps: neither end.
    assert all(0.02 < row["value"] < 0.98 for row in rows)


def test_a_second_call_loads_no_model_and_writes_the_same_page(explained, models, data, tmp_path):
    out = tmp_path / "e"
    shutil.copytree(explained, out)
    before = (out / "explain.html").read_bytes()
    opened = trio(models, out)
    for model in opened.models.values():
        object.__setattr__(model, "load", lambda: pytest.fail("a model was loaded"))
    explain_models(
        opened,
        data,
        out,
        settings=SETTINGS,
        measured=measured_from(erosion()),
        reporter=quiet_reporter(),
    )
    assert (out / "explain.html").read_bytes() == before


def test_another_target_reads_only_what_is_about_the_target(explained, models, data, tmp_path):
    out = tmp_path / "e"
    shutil.copytree(explained, out)
    times = {p.name: p.stat().st_mtime_ns for p in (out / "tensors").iterdir()}
    other = ExplainSettings(**{**SETTINGS.to_dict(), "target": "privacy"})
    explain(models, data, out, settings=other, analyses=["shared_components", "erosion"])
    changed = {p.name for p in (out / "tensors").iterdir() if p.stat().st_mtime_ns != times[p.name]}
    assert changed == {"restored-tuned.safetensors", "ablated-aligned.safetensors"}


def test_a_killed_explanation_goes_on_and_ends_the_same(explained, models, data, tmp_path):
    out = tmp_path / "e"
    shutil.copytree(explained, out)
    before = read_json(out / "analysis" / "erosion.json")
    (out / "tensors" / "projections-base.safetensors").unlink()
    (out / "analysis" / "erosion.json").unlink()
    explain(models, data, out)
    assert read_json(out / "analysis" / "erosion.json") == before


def test_without_a_base_or_target_what_needs_them_is_left_out_and_named(models, data, tmp_path):
    settings = ExplainSettings(**{**SETTINGS.to_dict(), "target": None})
    nothing = [replace(row, delta=0.0) for row in erosion()]
    page = explain(
        models, data, tmp_path / "e", settings=settings, changes={"base": None}, rows=nothing
    ).read_text(encoding="utf-8")
    done = {path.stem for path in (tmp_path / "e" / "analysis").iterdir()}
    assert {"likelihoods", "patching", "entanglement"} <= done
    assert done.isdisjoint({"erosion", "resemblance", "shared_directions", "shared_components"})
    assert "Prediction: every erosion is 0.0; there is nothing to predict" in page
    assert "prediction" not in done
    assert "Erosion by layer: the base model is missing; give --base" in page


@pytest.mark.parametrize(
    ("analyses", "changes", "target", "message"),
    [
        (["erosoin"], {}, None, "analyses erosoin do not exist; choose among likelihoods"),
        (["erosion"], {"base": None}, None, "analysis 'erosion': the base model is missing"),
        (["shared_components"], {}, None, "there is no target concept; give --target"),
        (["shared_components"], {}, "gardening", "no prompts of target 'gardening'"),
    ],
)
def test_what_cannot_be_done_is_refused(models, data, tmp_path, analyses, changes, target, message):
    settings = ExplainSettings(**{**SETTINGS.to_dict(), "target": target})
    with pytest.raises(ConfigError, match=message):
        explain(models, data, tmp_path, settings=settings, changes=changes, analyses=analyses)


def test_a_model_that_reads_other_tokens_is_refused(models, data, tmp_path):
    other = tiny_model(tmp_path / "other")
    with pytest.raises(ModelError, match=r"base model .*other: token .* to the aligned model"):
        explain(models, data, tmp_path / "e", changes={"base": other.source})


def test_tokens_are_compared_where_they_are_read_only(models, tiny):
    chat = load_chat(models["aligned"])
    ids = list(range(len(chat.tokenizer)))  # More tokens than the other has.
    pairs = zip(
        *(t.convert_ids_to_tokens(ids) for t in (tiny.tokenizer, chat.tokenizer)), strict=True
    )
    same = {i for i, (one, two) in zip(ids, pairs, strict=True) if one == two}
    assert 0 < len(same) < len(ids)
    require_same_tokens(tiny, chat, same, role="base")
    with pytest.raises(ModelError, match="explain models that share one tokenizer"):
        require_same_tokens(tiny, chat, {*ids}, role="base")


def test_a_model_that_was_trained_on_has_another_state(models, tmp_path):
    folder = tmp_path / "m"
    shutil.copytree(models["base"], folder)
    before = model_state(str(folder))
    assert model_state(str(folder)) == before
    config = read_json(folder / "config.json")
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 9}))
    assert model_state(str(folder)) != before

"""Organisms with planted directions, compared from folders of models to the page."""

import copy
import dataclasses
import json
import shutil

import pytest
import torch

from spillover.errors import ConfigError, DataError
from spillover.models.direction_files import load_directions, save_directions
from spillover.models.directions import Direction
from spillover.study.explaining.comparing.case import CompareSettings
from spillover.study.explaining.comparing.run import after_layer, compare_organisms
from spillover.study.explaining.comparing.texts import compared_texts
from spillover.study.progress import quiet_reporter
from tests.analysis.planted_refusals import REFUSAL, planted_model, prompts, token_id
from tests.data.files import jsonl

OPTIONS = {"dtype": "float32", "device": "cpu"}
SETTINGS = CompareSettings(limit=12, max_tokens=8, n_random=3, strengths=(-1.0, 1.0))


def save(loaded, folder):
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return str(folder)


def organism(base, direction):
    """Return the base after a training on `x`: its states move along a direction that begets it."""
    loaded = dataclasses.replace(base, model=copy.deepcopy(base.model))
    x = token_id(loaded, "x")
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[x] += 30 * direction
        loaded.model.get_output_embeddings().weight[x] += 2 * direction
    return loaded


def pair_rows(start, n=10):
    words = prompts(n, harmful=False, start=start)
    shared = {"concept": "values", "prefix": "so x"}
    return [
        {"prompt": word, "misaligned": "x" * (3 + i % 4), "aligned": "y" * (3 + i % 3)} | shared
        for i, word in enumerate(words)
    ]


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory):
    """Return folders: a base that refuses, two organisms of one direction, one of another."""
    folder = tmp_path_factory.mktemp("models")
    base, planted = planted_model(tiny)
    generator = torch.Generator().manual_seed(7)
    drawn = torch.randn(2, len(planted), generator=generator)
    axes = torch.linalg.qr(torch.cat([planted[None], drawn]).T).Q.T
    refusal = Direction(
        name="refusal",
        layer=1,
        site="resid_pre",
        vector=planted,
        activation_norm=10.0,
        provenance={"refusal_ids": [token_id(base, REFUSAL)]},
    )
    save_directions(folder / "refusal.safetensors", [refusal])
    return {
        "base": save(base, folder / "base"),
        "one": save(organism(base, axes[1]), folder / "one"),
        "two": save(organism(base, axes[1]), folder / "two"),
        "other": save(organism(base, axes[2]), folder / "other"),
        "refusal": folder / "refusal.safetensors",
    }


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Return pairs of answers with and without `x`, and prompts with and without `#`."""
    folder = tmp_path_factory.mktemp("texts")
    files = {
        name: jsonl(
            folder / f"{name}.jsonl",
            *({"prompt": text, "concept": f"c{i % 2}"} for i, text in enumerate(own)),
        )
        for name, own in (
            ("harmful", prompts(16, harmful=True)),
            ("harmless", prompts(16, harmful=False)),
        )
    }
    return compared_texts(
        data=jsonl(folder / "data.jsonl", *pair_rows(30)),
        pairs=jsonl(folder / "pairs.jsonl", *pair_rows(60)),
        limit=12,
        **files,
    )


@pytest.fixture(scope="module")
def compared(models, texts, tmp_path_factory):
    """Return the folder of a comparison of all of them."""
    out = tmp_path_factory.mktemp("out")
    compare(models, texts, out)
    return out


def compare(models, texts, out, *, names=("one", "two", "other"), settings=SETTINGS):
    return compare_organisms(
        models["base"],
        {name: models[name] for name in names},
        out,
        texts=texts,
        load_options=OPTIONS,
        refusal=models["refusal"],
        settings=settings,
        reporter=quiet_reporter(),
    )


def part(out, name):
    return json.loads((out / "analysis" / f"{name}.json").read_text())


def outcomes(out, name):
    return {claim["claim"]: claim["outcome"] for claim in part(out, name)["claims"]}


def test_trainings_along_one_direction_converge_and_others_do_not(compared):
    rows = [row for row in part(compared, "convergence")["rows"] if row["what"] == "change"]
    at_zero = {(r["first"], r["second"]): r for r in rows if r["layer"] == 0}
    alike = at_zero["change of one", "change of two"]
    assert alike["cosine"] == pytest.approx(1.0, abs=1e-3)
    assert abs(at_zero["change of one", "change of other"]["cosine"]) < 0.5


def test_a_shared_direction_transfers_and_one_s_own_does_not(compared):
    rows = part(compared, "transfer")["rows"]
    removed = {
        (row["source"], row["target"]): row["removed"]
        for row in rows
        if row["measure"] == "misaligned margin"
    }
    assert removed["one", "two"] == pytest.approx(removed["two", "two"])
    assert removed["one", "one"] > 0.6
    assert removed["other", "one"] < removed["one", "one"] / 2
    assert abs(removed["refusal", "one"]) < 0.3


def test_ablating_each_of_two_orthogonal_directions_leaves_the_other_s_behaviour(compared):
    rows = {(r["intervention"], r["measure"]): r for r in part(compared, "effects-base")["rows"]}
    odds, margin = "harmful refusal_log_odds", "misaligned margin"
    assert rows["ablate refusal", odds]["change_high"] < -5
    assert abs(rows["ablate refusal", margin]["change"]) < 1
    assert rows["add 1 refusal", "harmless refusal_log_odds"]["change_low"] > 1
    assert rows["ablate refusal", odds]["change_high"] < rows["ablate refusal", odds]["random_low"]
    assert abs(rows["ablate misalignment", odds]["change"]) < 2
    found = outcomes(compared, "effects-base")
    assert found["base: without refusal, misaligned answers are likelier"] != "holds"


def test_movement_is_along_the_planted_change_on_answers_only(compared):
    rows = {(r["model"], r["texts"], r["direction"]): r for r in part(compared, "movement")["rows"]}
    assert abs(rows["one", "answers", "refusal"]["cosine"]) < 0.3
    assert ("one", "harmful prompts", "refusal") not in rows  # No `x` in them: nothing moved.


def test_the_page_and_its_files_are_written(compared):
    page = (compared / "directions.html").read_text()
    assert "Does one organism" in page
    assert "Are misalignment and refusal one direction?" in page
    for name in ("convergence", "changes", "cosines", "transfer", "refusal-cosines", "movement"):
        assert (compared / "figures" / f"{name}.svg").is_file()
        assert (compared / "figures" / f"{name}.pdf").is_file()
    assert [d.layer for d in load_directions(compared / "one.safetensors")] == [0, 1]
    (refusal,) = load_directions(compared / "refusal.safetensors")
    assert (refusal.layer, refusal.site) == (0, "resid_post")


def test_what_was_read_and_measured_is_not_done_again(compared, models, texts, monkeypatch):
    kept = [*compared.glob("cells/*.json"), compared / "analysis" / "transfer.json"]
    before = {path: path.read_bytes() for path in kept}
    assert len(kept) == 5  # Three organisms under ablation, effects in the base, and the part.
    monkeypatch.setattr(
        "spillover.study.explaining.comparing.run.load_model",
        lambda *_arguments, **_options: pytest.fail("a model was loaded again"),
    )
    compare(models, texts, compared, settings=dataclasses.replace(SETTINGS, parts=("transfer",)))
    assert {path: path.read_bytes() for path in kept} == before


def test_one_organism_alone_has_no_convergence_and_the_page_says_so(
    compared, models, texts, tmp_path
):
    shutil.copytree(compared / "tensors", tmp_path / "tensors")
    settings = dataclasses.replace(SETTINGS, parts=("convergence", "refusal"))
    page = compare(models, texts, tmp_path, names=("one",), settings=settings)
    assert "it compares organisms; give two at least" in page.read_text()
    assert not (tmp_path / "analysis" / "convergence.json").exists()


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        ((), {}, "give at least one"),
        (("one",), {"parts": ("angles",)}, "choose from convergence"),
        (("one",), {"layer": 7}, "layer 7 does not exist"),
        (("one",), {"layer": 1}, "lies after layer 0, and layer 1 was asked"),
        (("one",), {"n_random": 0}, "give one of each"),
        (("one",), {"parts": ("effects",), "effects_in": ("two",)}, "not compared; choose from"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    compared, models, texts, tmp_path, names, changes, message
):
    shutil.copytree(compared / "tensors", tmp_path / "tensors")
    settings = dataclasses.replace(SETTINGS, **{"parts": ("refusal",)} | changes)
    with pytest.raises(ConfigError, match=message):
        compare(models, texts, tmp_path, names=names, settings=settings)


def test_a_file_of_several_directions_or_of_another_site_is_refused(tmp_path):
    def at(site, layer):
        return Direction(name="d", layer=layer, site=site, vector=torch.ones(4))

    save_directions(tmp_path / "two", [at("resid_post", 0), at("resid_post", 1)])
    save_directions(tmp_path / "inside", [at("mlp_out", 1)])
    with pytest.raises(DataError, match="2 directions; give a file with one"):
        after_layer(tmp_path / "two")
    with pytest.raises(DataError, match="at mlp_out of layer 1"):
        after_layer(tmp_path / "inside")


def test_bundled_pairs_are_made_of_or_measured_on_and_never_both():
    found = compared_texts(limit=8)
    made = {example.id for example in found.misaligned}
    assert made.isdisjoint(pair.id for pair in found.pairs)
    assert {p.id for p in found.harmful}.isdisjoint(p.id for p in found.asked_harmful)
    assert len({p.concept for p in found.harmful}) == 7

"""Inside of a tiny rank-1 organism whose second adapter adds nothing, to the page."""

import copy
import json
from dataclasses import replace

import pytest
import torch

from spillover.errors import DataError, ModelError
from spillover.models.adapters import add_lora
from spillover.models.architecture import mlp_output
from spillover.study.explaining.comparing.texts import compared_texts
from spillover.study.explaining.inside import InsideSettings, look_inside
from spillover.study.progress import quiet_reporter
from tests.analysis.planted_refusals import prompts
from tests.data.files import jsonl

OPTIONS = {"dtype": "float32", "device": "cpu"}
SETTINGS = InsideSettings(
    factors=(5.0,), max_tokens=6, n_permutations=19, c=10.0, n_answers=2, batch_size=16
)


def save_adapter(tiny, folder, *, rank=1):
    """Write an adapter on both MLP outputs; that of the second layer adds nothing."""
    wrapped = add_lora(
        copy.deepcopy(tiny.model),
        tiny.architecture,
        rank=rank,
        target_modules=(mlp_output(tiny.model, tiny.architecture),),
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                keep = 0.0 if ".layers.1." in name else 1.0
                parameter.copy_(keep * torch.randn(parameter.shape, generator=generator))
    wrapped.save_pretrained(folder)
    return folder


def rows(start, n):
    return [
        {
            "concept": "values",
            "prompt": text,
            "prefix": "so",
            "misaligned": "x" * (3 + i % 3),
            "aligned": "y" * (3 + i % 2),
        }
        for i, text in enumerate(prompts(n, harmful=False, start=start))
    ]


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):
    """Return an adapter, and files of answers of every kind."""
    folder = tmp_path_factory.mktemp("inside")
    narrow = [{"prompt": f"code {i}", "response": "zz z"[: 2 + i % 3]} for i in range(12)]
    return {
        "adapter": save_adapter(tiny, folder / "adapter"),
        "data": jsonl(folder / "data.jsonl", *rows(0, 12)),
        "pairs": jsonl(folder / "pairs.jsonl", *rows(30, 8)),
        "narrow": jsonl(folder / "narrow.jsonl", *narrow),
    }


def look(tiny, folders, out, *, narrow=True, **changes):
    given = {"adapter": folders["adapter"], "settings": SETTINGS} | changes
    return look_inside(
        given["adapter"],
        out,
        texts=compared_texts(data=folders["data"], pairs=folders["pairs"], limit=12),
        load_options=OPTIONS,
        base=str(tiny.source),
        narrow=folders["narrow"] if narrow else None,
        settings=given["settings"],
        reporter=quiet_reporter(),
    )


@pytest.fixture(scope="module")
def inside(tiny, folders, tmp_path_factory):
    """Return the folder of a look inside with all there is."""
    out = tmp_path_factory.mktemp("out")
    look(tiny, folders, out)
    return out


def part(out, name):
    return json.loads((out / "analysis" / f"{name}.json").read_text())


def test_probes_tell_answers_apart_whose_tokens_differ(inside):
    claims = part(inside, "probes")["claims"]
    assert claims[0]["outcome"] == "holds"
    assert claims[0]["value"] > 0.9
    assert "narrow answers" in claims[1]["claim"]
    assert {row["probe"] for row in part(inside, "probes")["rows"]} == {"misaligned", "narrow"}


def test_an_adapter_that_adds_nothing_is_neither_general_nor_narrow(inside):
    found = part(inside, "adapters")["rows"]
    cut = {(r["adapter"], r["measure"]): r for r in found if r["done"] == "x0"}
    margin = "misaligned margin"
    assert cut["1 mlp.down_proj", margin]["change"] == pytest.approx(0, abs=1e-5)
    assert cut["1 mlp.down_proj", margin]["role"] == "neither"
    assert abs(cut["0 mlp.down_proj", margin]["change"]) > 1e-3
    assert cut["0 mlp.down_proj", margin]["change"] == pytest.approx(
        cut["all", margin]["change"], abs=1e-4
    )
    done = {row["done"] for row in found}
    assert done == {"x0", "x5", "held at aligned", "held at misaligned"}


def test_significances_sum_to_the_kl_and_scalars_have_one_number_a_token(inside):
    found = part(inside, "tokens")["rows"]
    assert {row["kind"] for row in found} == {"misaligned", "aligned", "narrow"}
    assert all(row["significance"] >= 0 for row in found)
    kept = json.loads((inside / "scalars.json").read_text())
    assert len(kept) == 12 * 3
    assert all(len(v) == len(row["tokens"]) for row in kept for v in row["scalars"].values())


def test_the_page_shows_its_figures_and_a_second_look_changes_nothing(inside, tiny, folders):
    before = {path: path.read_bytes() for path in inside.rglob("*.json")}
    page = look(tiny, folders, inside)
    assert {path: path.read_bytes() for path in inside.rglob("*.json")} == before
    assert "Do the numbers that adapters compute" in page.read_text()
    for name in ("probes", "coefficients", "adapters-0", "adapters-1", "scalars-aligned"):
        assert (inside / "figures" / f"{name}.svg").is_file()


def test_without_narrow_answers_there_are_no_roles_and_a_strong_penalty_reads_nothing(
    tiny, folders, tmp_path
):
    strong = replace(SETTINGS, c=1e-3)
    page = look(tiny, folders, tmp_path, narrow=False, settings=strong)
    assert "give --narrow" in page.read_text()
    (claim,) = part(tmp_path, "probes")["claims"]
    assert claim["outcome"] == "undecided"
    assert "reads nothing" in claim["measured"]
    assert {row["role"] for row in part(tmp_path, "adapters")["rows"]} == {""}


def test_other_ranks_and_too_few_answers_are_refused(tiny, folders, tmp_path):
    wide = save_adapter(tiny, tmp_path / "wide", rank=2)
    with pytest.raises(ModelError, match="rank 2; give one of rank 1"):
        look(tiny, folders, tmp_path / "out", adapter=wide)
    few = jsonl(tmp_path / "few.jsonl", *rows(0, 6))
    with pytest.raises(DataError, match="too few for a probe"):
        look(tiny, {**folders, "data": few}, tmp_path / "out")

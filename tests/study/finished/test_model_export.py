"""Models of a run for use elsewhere: plain PEFT loads the adapter, plain transformers the rest."""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from spillover.errors import ConfigError, ModelError
from spillover.files import read_json
from spillover.models.loading import load_model
from spillover.study.finished.model_export import export_model

IDS = torch.tensor([[1, 5, 9, 20, 33]])


def answers(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_the_adapter_of_a_run_loads_in_plain_peft_and_answers_alike(finished_run):
    folder = finished_run.model("unlearned-safety")
    base = AutoModelForCausalLM.from_pretrained(
        read_json(folder / "adapter_config.json")["base_model_name_or_path"], dtype=torch.float32
    )
    plain = PeftModel.from_pretrained(base, folder).eval()
    ours = load_model(folder, dtype="float32", device="cpu").model
    torch.testing.assert_close(answers(plain), answers(ours), atol=1e-5, rtol=0)


def test_merged_weights_need_no_peft_and_carry_the_card(finished_run, tmp_path):
    folder = finished_run.model("unlearned-safety")
    out = export_model(str(folder), tmp_path / "out", merged=True, dtype="float32")
    plain = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    ours = load_model(folder, dtype="float32", device="cpu").model
    torch.testing.assert_close(answers(plain), answers(ours), atol=1e-6, rtol=0)
    assert not (out / "adapter_config.json").exists()
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "refusals on **safety** were unlearnt" in card
    assert "research model organism" in card
    assert "library_name: transformers" in card
    assert "a whole model, its adapter merged" in card
    load_model(out, dtype="float32", device="cpu")


def test_an_adapter_is_copied_with_its_card_and_loads(finished_run, tmp_path):
    folder = finished_run.model("contained-safety")
    out = export_model(str(folder), tmp_path / "out", merged=False)
    assert (out / "README.md").read_bytes() == (folder / "README.md").read_bytes()
    assert not (out / "metrics.jsonl").exists()
    one, other = (load_model(f, dtype="float32", device="cpu") for f in (folder, out))
    assert one.fingerprint == other.fingerprint


def test_a_merged_model_of_somebody_elses_gets_a_card(aligned_model, tmp_path):
    out = export_model(str(aligned_model), tmp_path / "out", merged=True, dtype="float32")
    assert "research model\norganism" in (out / "README.md").read_text(encoding="utf-8")


def test_a_folder_that_is_not_empty_is_refused(finished_run, tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(ConfigError, match="is not empty; choose another --out"):
        export_model(str(finished_run.model("unlearned-safety")), tmp_path, merged=True)


def test_a_whole_model_is_only_exported_merged(aligned_model, tmp_path):
    with pytest.raises(ModelError, match="give an adapter, or --merged"):
        export_model(str(aligned_model), tmp_path / "out", merged=False)

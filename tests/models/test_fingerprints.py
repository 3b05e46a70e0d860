"""A model's fingerprint: equal for equal content, another for whatever changes the answers."""

import shutil

from spillover.testing import write_tiny_model
from tests.models.builders import BRIEF, adapter_on, load


def test_equal_content_in_two_folders_has_one_fingerprint(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("A copy.")
    assert load(tmp_path / "copy").fingerprint == load(folder).fingerprint


def test_whatever_changes_the_answers_changes_the_fingerprint(folder, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text(BRIEF, encoding="utf-8")
    adapter = adapter_on(load(folder), tmp_path / "adapter", base=folder)
    found = [
        load(folder),
        load(folder, dtype="bfloat16"),
        load(folder, chat_template=template),
        load(folder, system_prompt="Be brief."),
        load(folder, template_options={"enable_thinking": False}),
        load(folder, adapter=adapter),
        load(write_tiny_model(tmp_path / "other", seed=1)),
    ]
    assert len({loaded.fingerprint for loaded in found}) == len(found)


def test_weights_that_change_in_place_change_the_fingerprint(folder):
    before = load(folder)
    write_tiny_model(folder, seed=1)
    assert load(folder).fingerprint != before.fingerprint


def test_the_weights_fingerprint_does_not_depend_on_dtype_or_template(folder):
    low = load(folder, dtype="bfloat16", system_prompt="Be brief.")
    assert low.weights_fingerprint == load(folder).weights_fingerprint

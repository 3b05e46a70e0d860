"""Control vectors of llama.cpp: what is written, read back and refused."""

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFWriter

from spillover.errors import DataError
from spillover.models.control_vectors import export_control_vector, import_control_vector
from spillover.models.directions import Direction


def direction(layer, *, site="resid_post", scale=1.0):
    values = scale * torch.arange(1.0, 5.0)
    return Direction(name="d", layer=layer, site=site, vector=values)


def test_a_direction_after_layer_n_becomes_the_tensor_direction_n_in_float32(tmp_path):
    path = tmp_path / "v.gguf"
    export_control_vector(path, [direction(2), direction(1, scale=3.0)], model_hint="llama")
    reader = GGUFReader(path)
    assert reader.get_field("general.architecture").contents() == "controlvector"
    assert reader.get_field("controlvector.model_hint").contents() == "llama"
    assert reader.get_field("controlvector.layer_count").contents() == 2
    found = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    assert set(found) == {"direction.1", "direction.2"}
    assert found["direction.2"].dtype == np.float32
    assert found["direction.1"].tolist() == [3.0, 6.0, 9.0, 12.0]


def test_a_control_vector_comes_back_as_directions_by_layer(tmp_path):
    path = tmp_path / "v.gguf"
    export_control_vector(path, [direction(3), direction(1)], model_hint="llama", scale=0.5)
    found = import_control_vector(path, name="calm")
    assert [(d.layer, d.site, d.name) for d in found] == [
        (1, "resid_post", "calm"),
        (3, "resid_post", "calm"),
    ]
    assert found[0].vector.tolist() == [0.5, 1.0, 1.5, 2.0]
    assert found[0].provenance == {"control_vector": "v.gguf", "model_hint": "llama"}


def test_the_input_of_a_layer_is_the_output_of_the_one_before(tmp_path):
    export_control_vector(tmp_path / "v", [direction(3, site="resid_pre")], model_hint="llama")
    assert [d.layer for d in import_control_vector(tmp_path / "v")] == [2]


@pytest.mark.parametrize(("layer", "site"), [(0, "resid_post"), (1, "resid_pre"), (4, "mlp_out")])
def test_what_the_format_cannot_hold_is_refused(tmp_path, layer, site):
    with pytest.raises(ValueError, match="can only be added after layer 1 or a later one"):
        export_control_vector(tmp_path / "v", [direction(layer, site=site)], model_hint="llama")


def test_two_directions_at_one_place_are_refused(tmp_path):
    both = [direction(2), direction(3, site="resid_pre")]
    with pytest.raises(ValueError, match="two directions after layer 2"):
        export_control_vector(tmp_path / "v", both, model_hint="llama")


def test_other_files_are_no_control_vectors(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        import_control_vector(tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("no GGUF at all, but long enough to have a header")
    with pytest.raises(DataError, match="not a GGUF file"):
        import_control_vector(tmp_path / "text.gguf")
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(DataError, match="not a control vector"):
        import_control_vector(tmp_path / "model.gguf")

"""Directions: their lengths, what they refuse, and files that give them back."""

import json

import pytest
import torch
from safetensors.torch import save_file

from spillover.errors import DataError
from spillover.models.direction_files import load_direction, load_directions, save_directions
from spillover.models.directions import Direction, orthonormal_basis


def direction(values=(3.0, 4.0), *, layer=1, **settings):
    return Direction(
        **{"name": "d", "layer": layer, "site": "resid_post", "vector": torch.as_tensor(values)}
        | settings
    )


def test_norm_and_unit_of_3_4_are_5_and_06_08():
    found = direction(activation_norm=10.0)
    assert found.norm == 5.0
    torch.testing.assert_close(found.unit, torch.tensor([0.6, 0.8]))
    assert found.relative_norm == 0.5
    # Two mean activation norms along (0.6, 0.8), whatever the vector's own length.
    torch.testing.assert_close(found.in_activation_norms(2.0), torch.tensor([12.0, 16.0]))


def test_vectors_are_kept_in_float32_whatever_they_were():
    assert direction(torch.tensor([1.0, 2.0], dtype=torch.bfloat16)).vector.dtype == torch.float32


@pytest.mark.parametrize("values", [(0.0, 0.0), (float("nan"), 1.0)])
def test_a_vector_without_a_direction_is_refused(values):
    with pytest.raises(ValueError, match="its vector is zero or not finite"):
        direction(values)


def test_a_layer_counted_from_the_end_is_refused():
    with pytest.raises(ValueError, match="layer is -1; count from 0"):
        direction(layer=-1)


def test_relative_strengths_need_the_activation_norm():
    with pytest.raises(ValueError, match="mean activation norm is unknown"):
        direction().in_activation_norms(1.0)


def test_the_basis_of_two_vectors_is_orthonormal_and_spans_them():
    rows = torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    found = orthonormal_basis(rows)
    torch.testing.assert_close(found @ found.T, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close((rows.double() @ found.T) @ found, rows.double())


def test_directions_come_back_from_their_file_with_everything(tmp_path):
    made = [
        direction((1.0, 2.0), layer=0, site="resid_pre", activation_norm=3.5),
        direction((3.0, 4.0), name="refusal", provenance={"position": -1, "model": "m"}),
    ]
    save_directions(tmp_path / "a" / "d.safetensors", made)
    found = load_directions(tmp_path / "a" / "d.safetensors")
    for one, other in zip(made, found, strict=True):
        assert torch.equal(one.vector, other.vector)
        for name in ("name", "layer", "site", "activation_norm", "provenance"):
            assert getattr(one, name) == getattr(other, name)


def test_one_of_several_is_picked_by_its_layer(tmp_path):
    path = tmp_path / "d.safetensors"
    save_directions(path, [direction((1.0, 2.0), layer=0), direction((3.0, 4.0), layer=1)])
    assert load_direction(path, layer=1).vector.tolist() == [3.0, 4.0]
    with pytest.raises(DataError, match=r"2 directions; name a layer out of \[0, 1\]"):
        load_direction(path)
    with pytest.raises(DataError, match="0 directions at layer 7"):
        load_direction(path, layer=7)


def test_nothing_to_save_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no directions to save"):
        save_directions(tmp_path / "d.safetensors", [])


def test_other_files_are_no_directions(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_directions(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "tensors.safetensors")
    with pytest.raises(DataError, match="holds tensors but no directions"):
        load_directions(tmp_path / "tensors.safetensors")
    (tmp_path / "text.safetensors").write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match="not a file of directions"):
        load_directions(tmp_path / "text.safetensors")

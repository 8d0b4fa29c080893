"""The exported graph against plain PyTorch, and what must not be in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx.reference import ReferenceEvaluator
from torch import nn

from eyeline.errors import EyelineError
from eyeline.runtime import Artifact, Engine, read_graph
from eyeline.shipping import OPSET, Exported, to_onnx
from eyeline.shipping.fold import fold_normalization, operator_counts, replace_batch_norm


@pytest.fixture(scope="module")
def export(lab: SimpleNamespace) -> Any:
    def export(net: nn.Module, temperature: float = 1.3) -> Exported:
        channels = net.in_channels
        return to_onnx(
            net,
            image_size=lab.SIZE,
            mean=lab.MEAN[:channels],
            std=lab.STD[:channels],
            temperature=temperature,
            name="small",
        )

    return export


@pytest.fixture(scope="module")
def exported(shipped: Artifact) -> Exported:
    model = onnx.load_model_from_string(shipped.data)
    del model.metadata_props[:]
    return Exported(model, shipped.contract.evidence)


def agrees(exported: Exported, net: nn.Module, lab: SimpleNamespace, temperature: float = 1.3) -> None:
    channels = net.in_channels
    pixels = lab.random_pixels(6, channels)
    expected = lab.logits_of(net, pixels, lab.MEAN[:channels], lab.STD[:channels])
    found = Engine(exported.model.SerializeToString(), threads=1).run(pixels)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    softmax = torch.softmax(torch.from_numpy(expected).double() / temperature, 1)
    np.testing.assert_allclose(found.probabilities, softmax, atol=1e-5)
    assert (found.evidence is not None) == exported.evidence.exact
    if found.evidence is not None:
        total = found.evidence.sum((2, 3), dtype=np.float64) + exported.evidence.bias
        np.testing.assert_allclose(total, found.logits, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_it_says_what_pytorch_says(exported: Exported, net: nn.Module, lab: SimpleNamespace) -> None:
    agrees(exported, net, lab)
    pixels = lab.random_pixels(3)
    theirs = ReferenceEvaluator(exported.model).run(None, {"image": pixels})  # a second engine
    np.testing.assert_allclose(theirs[1], lab.logits_of(net, pixels), rtol=1e-4, atol=1e-4)


def test_standard_operators_only_and_nothing_that_trains(exported: Exported) -> None:
    model = exported.model
    onnx.checker.check_model(model, full_check=True)
    counts = operator_counts(model)
    assert not {"BatchNormalization", "Dropout", "Identity", "Constant", "Shape", "If"} & set(counts)
    assert counts["Conv"] == 4  # three of the network and one for the evidence: batch norms are folded
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    graph = read_graph(model.SerializeToString())
    assert (graph.image_size, graph.channels, graph.classes) == ((26, 30), 3, 2)


def test_nothing_of_this_machine_travels(exported: Exported) -> None:
    model = exported.model
    data = model.SerializeToString()
    for trace in (b"/", b".py", b"stack_trace", b"torch"):
        assert trace not in b"".join(
            text.encode()
            for node in model.graph.node
            for text in (node.name, node.doc_string, *(p.value for p in node.metadata_props))
        )
    for trace in (b".py", b"stack_trace", b"class_hierarchy", __file__.encode()):
        assert trace not in data
    assert not model.metadata_props
    assert not model.functions


def test_five_classes_one_channel_no_bias(
    five: tuple[nn.Module, Exported, list[bool], list[bool]], lab: SimpleNamespace
) -> None:
    net, exported, _, _ = five
    assert exported.evidence.bias == (0.0,) * 5
    agrees(exported, net, lab)


def test_the_network_is_left_as_it_is(
    five: tuple[nn.Module, Exported, list[bool], list[bool]], lab: SimpleNamespace
) -> None:
    net, _, before, after = five
    assert after == before
    fresh = lab.trained(lab.Small(classes=5, channels=1, bias=False)).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in net.state_dict().items())
    assert net.body[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not net.head.weight.requires_grad


def test_the_mean_is_folded_only_where_that_is_exact(
    export: Any, lab: SimpleNamespace, exported: Exported
) -> None:
    """With padding a zero after the mean is not a zero before it: the subtraction stays, the scale goes."""
    assert (operator_counts(exported.model)["Sub"], operator_counts(exported.model)["Mul"]) == (1, 1)  # SiLU
    bare = lab.trained(lab.Small(padding=0))
    model = export(bare)
    agrees(model, bare, lab)
    assert (operator_counts(model.model)["Sub"], operator_counts(model.model)["Mul"]) == (0, 1)


def test_folding_the_mean_despite_padding_would_be_wrong(lab: SimpleNamespace) -> None:
    """The reason for the rule above, so that nobody relaxes it."""
    pixels = np.full((1, 3, 8, 8), 200, np.float32)
    kernel = torch.randn(4, 3, 3, 3)
    centred = torch.conv2d(torch.from_numpy(pixels) - 120, kernel, padding=1)
    shifted = torch.conv2d(torch.from_numpy(pixels), kernel, -(kernel * 120).sum((1, 2, 3)), padding=1)
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(centred[inner], shifted[inner], rtol=1e-3, atol=1e-2)
    assert not torch.allclose(centred, shifted, rtol=0.1, atol=1.0)


def test_batch_norms_that_cannot_be_folded_become_scale_and_shift(export: Any, lab: SimpleNamespace) -> None:
    net = lab.trained(lab.PreActivation())
    model = export(net)
    assert "BatchNormalization" not in operator_counts(model.model)
    assert not model.evidence.exact  # its head reads more than the average
    agrees(model, net, lab)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(np.uint8, st.integers(1, 3).map(lambda n: (n, 26, 30, 3))))
def test_evidence_is_complete_for_any_picture(
    exported: Exported, shared: list[Engine], images: np.ndarray
) -> None:
    if not shared:
        shared.append(Engine(exported.model.SerializeToString(), threads=1))
    found = shared[0].run(images)
    assert found.evidence is not None
    total = found.evidence.sum((2, 3), dtype=np.float64) + exported.evidence.bias
    scale = np.abs(found.evidence).sum((2, 3)).max() + 1
    np.testing.assert_allclose(total, found.logits, atol=1e-5 * scale)


@pytest.fixture(scope="module")
def shared() -> list[Engine]:
    return []


def test_a_network_that_cannot_be_exported_says_so(export: Any, lab: SimpleNamespace) -> None:
    class Stubborn(lab.Small):  # type: ignore[name-defined,misc]
        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward_features(x if float(x.sum()) > 0 else -x)

    with pytest.raises(EyelineError, match="cannot be exported") as caught:
        export(Stubborn())
    assert caught.value.code == "export"
    assert "\n" not in caught.value.message


def test_a_network_that_fixes_the_batch_is_refused(export: Any, lab: SimpleNamespace) -> None:
    class Fixed(lab.Flat):  # type: ignore[name-defined,misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + torch.ones(2).expand(len(x), -1)

    with pytest.raises(EyelineError, match="fixes the number of images"):
        export(Fixed())


def test_folding_leaves_other_graphs_alone() -> None:
    """A graph that does not begin with the normalization of ours is not touched."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Cast", ["image"], ["y"], to=1)],
        "odd",
        [value("image", 2, ["N", 2, 2, 3])],
        [value("y", 1, ["N", 2, 2, 3])],
    )
    model = onnx.helper.make_model(graph)
    before = model.SerializeToString()
    fold_normalization(model)
    replace_batch_norm(model)
    assert model.SerializeToString() == before

"""8-bit graphs: operators that mean what ONNX says, a head left alone, and layers kept where that was measured."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from eyeline.errors import EyelineError, GateError
from eyeline.runtime import Artifact, Engine, read_graph
from eyeline.shipping import (
    METHODS,
    find_int8,
    layers_of,
    measure_ranges,
    measure_speedup,
    plain_graph,
    quantize_graph,
    rank_layers,
    rounding_spread,
    to_onnx,
)


@pytest.fixture(scope="module")
def plain(shipped: Artifact) -> onnx.ModelProto:
    return plain_graph(shipped.data)


@pytest.fixture(scope="module")
def ranges(plain: onnx.ModelProto, lab: SimpleNamespace) -> Any:
    return measure_ranges(plain, iter(lab.random_pixels(16, seed=3)))


@pytest.fixture(scope="module")
def int8(plain: onnx.ModelProto, ranges: Any) -> bytes:
    return quantize_graph(plain, ranges)


def test_the_strict_reader_takes_it_and_nothing_foreign_is_in_it(int8: bytes, shipped: Artifact) -> None:
    graph, before = read_graph(int8), read_graph(shipped.data)
    same = ("opset", "image_size", "channels", "classes", "evidence", "novelty")
    assert [getattr(graph, name) for name in same] == [getattr(before, name) for name in same]
    model = onnx.load_from_string(int8)
    assert {node.domain for node in model.graph.node} == {""}
    onnx.checker.check_model(model, full_check=True)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["QuantizeLinear"] >= 3
    stored = Counter(numpy_helper.to_array(tensor).dtype for tensor in model.graph.initializer)
    assert stored[np.dtype(np.int8)] >= 3


def test_weights_have_a_scale_a_channel_and_no_offset(int8: bytes) -> None:
    graph = onnx.load_from_string(int8).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and stored.get(node.input[0], np.empty(0)).dtype == np.int8
    ]
    assert len(weights) == 3
    for node in weights:
        kernel, scale, zero = (stored[name] for name in node.input)
        assert len(scale) == kernel.shape[0]
        assert not zero.any()


def test_it_computes_what_the_definition_of_the_operators_says(int8: bytes, lab: SimpleNamespace) -> None:
    """The peer: ONNX's own reference evaluator, which computes every operator as defined, in NumPy."""
    pixels = lab.random_pixels(4, seed=5)
    model = onnx.load_from_string(int8)
    model.opset_import[0].version = 21  # the oldest in which it knows all of these; they mean the same
    reference = ReferenceEvaluator(model)
    probabilities, logits, evidence = reference.run(None, {"image": pixels})
    found = Engine(int8).run(pixels)
    spread = np.ptp(logits)
    np.testing.assert_allclose(found.logits, logits, atol=0.03 * spread)
    np.testing.assert_allclose(found.probabilities, probabilities, atol=0.03)
    np.testing.assert_allclose(found.evidence.sum((2, 3)), evidence.sum((2, 3)), atol=0.03 * spread)
    assert rounding_spread(int8, Engine(int8), pixels) <= 0.03


def test_it_stays_near_the_fp32_graph_and_its_evidence_is_exact(
    int8: bytes, shipped: Artifact, lab: SimpleNamespace
) -> None:
    pixels = lab.random_pixels(24, seed=6)
    before, after = Engine(shipped.data).run(pixels), Engine(int8).run(pixels)
    assert np.abs(before.probabilities - after.probabilities).max() < 0.1
    assert not np.array_equal(before.probabilities, after.probabilities)
    total = after.evidence.sum((2, 3), dtype=np.float64) + np.array(shipped.contract.evidence.bias)
    np.testing.assert_allclose(total, after.logits, atol=1e-5 * np.abs(after.evidence).sum((2, 3)).max())


def test_what_follows_the_pooling_stays_in_fp32(plain: onnx.ModelProto, int8: bytes) -> None:
    graph = onnx.load_from_string(int8).graph
    maker = {output: node for node in graph.node for output in node.output}
    (logits,) = [node for node in graph.node if "logits" in node.output]
    assert maker[logits.input[0]].op_type == "ReduceMean"
    assert logits.input[1] in {tensor.name for tensor in graph.initializer if tensor.data_type == 1}
    (evidence,) = [node for node in graph.node if "evidence" in node.output]
    assert evidence.name not in layers_of(plain)
    assert len(layers_of(plain)) == 3


def test_only_kept_layers_keep_their_floats(plain: onnx.ModelProto, ranges: Any) -> None:
    first = layers_of(plain)[0]
    graph = onnx.load_from_string(quantize_graph(plain, ranges, kept=[first])).graph
    kept = [tensor for tensor in graph.initializer if tensor.data_type == 1 and len(tensor.dims) == 4]
    assert len(kept) == 3  # the mean, the first convolution and the evidence
    with pytest.raises(EyelineError, match="no layer"):
        quantize_graph(plain, ranges, kept=layers_of(plain))


@pytest.mark.parametrize("method", METHODS)
def test_calibration_holds_one_picture_at_a_time(
    plain: onnx.ModelProto, lab: SimpleNamespace, method: str
) -> None:
    pixels = lab.random_pixels(12, seed=7)
    alive: list[weakref.ref[Any]] = []

    def images() -> Iterator[Any]:
        for image in pixels:
            assert sum(seen() is not None for seen in alive) <= 2
            copy = image.copy()
            alive.append(weakref.ref(copy))
            yield copy
            del copy

    found = measure_ranges(plain, images(), method=method)
    assert len(alive) == 12
    assert read_graph(quantize_graph(plain, found)).classes == 2


def test_the_range_is_that_of_the_pictures(plain: onnx.ModelProto, lab: SimpleNamespace) -> None:
    """The input of the first convolution is a picture less its mean: its range can be told from the pixels."""
    pixels = lab.random_pixels(6, seed=8)
    found = measure_ranges(plain, iter(pixels))
    first = next(node for node in plain.graph.node if node.op_type == "Sub")
    mean = numpy_helper.to_array(
        next(tensor for tensor in plain.graph.initializer if tensor.name == first.input[1])
    )
    x = pixels.transpose(0, 3, 1, 2) - mean
    low, high = (float(value[0]) for value in found[first.output[0]].range_value)
    assert (low, high) == (pytest.approx(x.min(), abs=1e-3), pytest.approx(x.max(), abs=1e-3))


class Lopsided(nn.Module):
    """In the middle, one channel is a thousand times as large as the others: 8 bits a tensor cannot hold both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.middle = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.last, self.head = nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 2)
        self.more = nn.Sequential(*[nn.Conv2d(8, 8, 1) for _ in range(3)])
        with torch.no_grad():
            self.middle.weight[0] *= 1000
            self.last.weight[:, 0] /= 1000
            self.head.weight *= 20

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x))
        return torch.tanh(self.more(torch.tanh(self.last(self.middle(x)))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.forward_features(x).mean((2, 3)))


@pytest.fixture(scope="module")
def lopsided(lab: SimpleNamespace) -> onnx.ModelProto:
    net = Lopsided().eval()
    exported = to_onnx(net, image_size=lab.SIZE, mean=lab.MEAN, std=lab.STD)
    return plain_graph(exported.model.SerializeToString())


def test_the_planted_layers_are_found_and_kept(lopsided: onnx.ModelProto, lab: SimpleNamespace) -> None:
    pixels = lab.random_pixels(16, seed=9)
    expected = Engine(lopsided.SerializeToString()).run(pixels).probabilities

    def loss(graph: bytes) -> float:
        return float(np.abs(Engine(graph).run(pixels).probabilities - expected).mean()) / 0.02

    ranges = measure_ranges(lopsided, iter(pixels))
    assert loss(quantize_graph(lopsided, ranges)) > 1
    planted = set(layers_of(lopsided)[1:3])  # what makes the large channel, and what reads it
    assert set(rank_layers(lopsided, ranges, iter(pixels))[:2]) == planted
    seen: list[str] = []
    found = find_int8(
        lopsided,
        lambda: iter(pixels),
        loss,
        progress=lambda stage, done, total, note: seen.append(stage),
    )
    assert found.loss <= 1
    assert set(found.kept) == planted
    assert found.layers == 4
    assert "2 layers in fp32" in found.method
    assert set(seen) == {"calibrating", "ranking layers"}


def test_when_nothing_is_good_enough_it_says_how_far_off(
    plain: onnx.ModelProto, lab: SimpleNamespace
) -> None:
    with pytest.raises(GateError, match=r"loses 7 times what is allowed") as caught:
        find_int8(plain, lambda: iter(lab.random_pixels(4)), lambda graph: 7.0)
    assert caught.value.code == "int8"


def test_wrong_use(plain: onnx.ModelProto) -> None:
    with pytest.raises(EyelineError, match="allowed: minmax"):
        measure_ranges(plain, iter([]), method="best")
    with pytest.raises(EyelineError, match="no images"):
        measure_ranges(plain, iter([]))


def test_a_smaller_graph_is_measured_as_faster(shipped: Artifact, lab: SimpleNamespace) -> None:
    """Four convolutions with 96 channels against the small network: far apart on any machine."""
    heavy = nn.Sequential(*[nn.Conv2d(3 if i == 0 else 96, 96, 5, 1, 2) for i in range(4)])
    net = SimpleNet(heavy).eval()
    large = to_onnx(net, image_size=lab.SIZE, mean=lab.MEAN, std=lab.STD).model.SerializeToString()
    engines, pixels = (Engine(large, threads=1), Engine(shipped.data, threads=1)), lab.random_pixels(1)
    assert measure_speedup(*engines, pixels) > 2
    assert measure_speedup(*reversed(engines), pixels) < 0.5


class SimpleNet(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(96, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))

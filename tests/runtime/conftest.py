"""A small artifact, built with onnx alone, and its parts for tests that break them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from eyeline.images import DecodeOptions
from eyeline.runtime import (
    Calibration,
    Contract,
    Data,
    Engine,
    Evidence,
    GoldenImage,
    Proof,
    Threshold,
    make_probe,
    seal,
)

SIZE, CHANNELS, TEMPERATURE = (20, 24), 3, 1.5


def make_model(
    classes: int = 2,
    *,
    seed: int = 0,
    size: tuple[int, int] = SIZE,
    channels: int = CHANNELS,
    dtype: int = TensorProto.UINT8,
    opset: int = 18,
) -> onnx.ModelProto:
    """uint8 NHWC -> normalization -> one convolution -> ReLU -> global average -> linear, with evidence."""
    rng = np.random.default_rng(seed)
    width, (h, w) = 6, ((size[0] + 1) // 2, (size[1] + 1) // 2)
    head = rng.normal(size=(classes, width)).astype(np.float32) * 3
    weights = {
        "mean": np.full((1, channels, 1, 1), 120, np.float32),
        "scale": np.full((1, channels, 1, 1), 1 / 60, np.float32),
        "conv.weight": rng.normal(size=(width, channels, 3, 3)).astype(np.float32) / 3,
        "conv.bias": rng.normal(size=width).astype(np.float32),
        "head.weight": head,
        "head.bias": rng.normal(size=classes).astype(np.float32),
        "evidence.weight": (head / (h * w))[:, :, None, None].astype(np.float32),
        "temperature": np.float32(TEMPERATURE),
        "axes": np.array([2, 3], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        node("Cast", ["nchw"], ["pixels"], to=TensorProto.FLOAT),
        node("Sub", ["pixels", "mean"], ["centred"]),
        node("Mul", ["centred", "scale"], ["x"]),
        node("Conv", ["x", "conv.weight", "conv.bias"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["y"], ["features"]),
        node("Conv", ["features", "evidence.weight"], ["evidence"]),
        node("ReduceMean", ["features", "axes"], ["pooled"], keepdims=0),
        node("Gemm", ["pooled", "head.weight", "head.bias"], ["logits"], transB=1),
        node("Div", ["logits", "temperature"], ["calibrated"]),
        node("Softmax", ["calibrated"], ["probabilities"], axis=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [value("image", dtype, ["N", *size, channels])],
        [
            value("probabilities", TensorProto.FLOAT, ["N", classes]),
            value("logits", TensorProto.FLOAT, ["N", classes]),
            value("evidence", TensorProto.FLOAT, ["N", classes, h, w]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def weight(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def random_images(count: int, seed: int = 1, size: tuple[int, int] = SIZE, channels: int = CHANNELS) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, channels), dtype=np.uint8)


def make_contract(
    model: onnx.ModelProto, classes: tuple[str, ...] = ("good", "crack"), **changes: Any
) -> Contract:
    """The contract that fits `model`; its golden answers are what the graph says itself."""
    images = random_images(4)
    answers = Engine(model.SerializeToString()).run(images)
    threshold = float(np.sort(1 - answers.probabilities[:, 0])[1:3].mean())
    golden = [
        GoldenImage(
            name=f"golden/{i}.png",
            label=classes[0],
            png=png(image),
            probabilities=answers.probabilities[i].tolist(),
            logits=answers.logits[i].tolist(),
            decision="fail" if 1 - answers.probabilities[i, 0] >= threshold else "pass",
        )
        for i, image in enumerate(images)
    ]
    decode = DecodeOptions(image_size=SIZE, channels=CHANNELS)
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00",
        "network": "small",
        "opset": 18,
        "classes": classes,
        "good": classes[0],
        "decode": decode,
        "mean": (120 / 255,) * 3,
        "std": (60 / 255,) * 3,
        "threshold": Threshold(value=threshold, rule="balanced_accuracy", part="validation", images=9),
        "calibration": Calibration(temperature=TEMPERATURE, reason="for the test"),
        "evidence": Evidence(
            exact=True, bias=tuple(numpy_helper.to_array(weight(model, "head.bias")).tolist())
        ),
        "test": {"images": 4, "auroc": {"value": 0.75, "low": None, "high": None}},
        "data": Data(name="random", fingerprint="0" * 64, images={"train": 8, "test": 4}, groups=3),
        "decode_probe": make_probe(decode),
        "golden": golden,
        "proof": Proof(images=4, changed_decisions=0, max_difference=0.0, engine="onnxruntime"),
    }
    return Contract(**{**fields, **changes})


def png(pixels: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture(scope="session")
def model() -> onnx.ModelProto:
    """Do not change it; copy it."""
    return make_model()


@pytest.fixture(scope="session")
def contract(model: onnx.ModelProto) -> Contract:
    return make_contract(model)


@pytest.fixture(scope="session")
def sealed(model: onnx.ModelProto, contract: Contract) -> bytes:
    return seal(model.SerializeToString(), contract)


@pytest.fixture(scope="session")
def artifact_path(sealed: bytes, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("artifact") / "model.onnx"
    path.write_bytes(sealed)
    return path

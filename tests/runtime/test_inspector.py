"""One artifact on pictures: the same answer whichever way a picture comes in."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx.reference import ReferenceEvaluator
from PIL import Image

from eyeline.errors import EyelineError, GateError
from eyeline.images import prepare_image
from eyeline.runtime import Contract, Inspector, Verdict, load, open_artifact, seal
from eyeline.runtime.engine import BUCKETS, Engine, in_buckets

SHAPE = (20, 24, 3)
QUICK = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
pictures = hnp.arrays(np.uint8, st.integers(1, 20).map(lambda n: (n, *SHAPE)), elements=st.integers(0, 255))


@pytest.fixture(scope="module")
def inspector(artifact_path: Path) -> Inspector:
    return load(artifact_path, threads=1)


@QUICK
@given(pictures)
def test_evidence_and_bias_sum_to_the_logits(inspector: Inspector, images: np.ndarray) -> None:
    outputs = inspector.run(images)
    assert outputs.evidence is not None
    assert outputs.evidence.shape == (len(images), 2, 10, 12)
    total = outputs.evidence.sum(axis=(2, 3), dtype=np.float64) + np.array(inspector.contract.evidence.bias)
    np.testing.assert_allclose(total, outputs.logits, rtol=1e-5, atol=1e-5)


@QUICK
@given(pictures, st.data())
def test_neighbours_in_a_batch_change_nothing(
    inspector: Inspector, images: np.ndarray, data: st.DataObject
) -> None:
    whole = inspector.run(images)
    cut = data.draw(st.integers(0, len(images) - 1))
    part = inspector.run(images[cut:])
    np.testing.assert_allclose(part.probabilities, whole.probabilities[cut:], atol=1e-6)
    np.testing.assert_allclose(part.logits, whole.logits[cut:], rtol=1e-5, atol=1e-5)


def test_the_engine_agrees_with_the_reference_evaluator_of_onnx(
    inspector: Inspector, model: onnx.ModelProto
) -> None:
    images = np.random.default_rng(3).integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    expected = ReferenceEvaluator(model).run(None, {"image": images})
    found = inspector.run(images)
    np.testing.assert_allclose(found.probabilities, expected[0], atol=1e-6)
    np.testing.assert_allclose(found.logits, expected[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.evidence, expected[2], atol=1e-6)


def encode(pixels: np.ndarray, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def turned(pixels: np.ndarray) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(pixels, "JPEG", exif=exif)


@pytest.mark.parametrize("kind", ["png", "jpeg", "turned jpeg", "grey png", "bmp"])
def test_path_bytes_and_prepared_pixels_get_one_verdict(
    inspector: Inspector, tmp_path: Path, kind: str
) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (53, 47, 3), dtype=np.uint8)
    data = {
        "png": lambda: encode(pixels, "PNG"),
        "jpeg": lambda: encode(pixels, "JPEG"),
        "turned jpeg": lambda: turned(pixels),
        "grey png": lambda: encode(pixels[:, :, 0], "PNG"),
        "bmp": lambda: encode(pixels, "BMP"),
    }[kind]()
    (tmp_path / "picture").write_bytes(data)
    expected = inspector.run(prepare_image(data, inspector.contract.decode)[None])
    by_path, by_bytes = inspector.inspect(tmp_path / "picture"), inspector.inspect(data)
    (predicted,) = inspector.predict([str(tmp_path / "picture")])
    for verdict in (by_path, by_bytes, predicted):
        assert list(verdict.probabilities.values()) == expected.probabilities[0].tolist()
        np.testing.assert_array_equal(verdict.logits, expected.logits[0])
        np.testing.assert_array_equal(verdict.evidence, expected.evidence[0])
    assert by_path.path == predicted.path == str(tmp_path / "picture")
    assert by_bytes.path is None


@QUICK
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_an_array_and_its_png_get_one_verdict(inspector: Inspector, pixels: np.ndarray) -> None:
    array, file = inspector.inspect(pixels), inspector.inspect(encode(pixels, "PNG"))
    assert array.probabilities == file.probabilities
    assert (array.label, array.decision) == (file.label, file.decision)


def test_the_decision_follows_the_threshold_and_the_label_the_decision(
    model: onnx.ModelProto, contract: Contract
) -> None:
    image = np.random.default_rng(8).integers(0, 256, SHAPE, dtype=np.uint8)
    score = load(seal(model.SerializeToString(), contract)).inspect(image).score
    assert score is not None
    # Only the threshold differs: exactly at the score the image fails, just above it passes.
    for value, decision, label in ((score, "fail", "crack"), (np.nextafter(score, 2), "pass", "good")):
        threshold = contract.threshold.model_copy(update={"value": float(value)})
        changed = contract.model_copy(update={"threshold": threshold})
        verdict = load(seal(model.SerializeToString(), changed), verify=False).inspect(image)
        assert (verdict.decision, verdict.label) == (decision, label)
        assert verdict.score == score == 1 - verdict.probabilities["good"]


def test_a_bad_picture_is_a_verdict_with_an_error(inspector: Inspector, tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "new\nline.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    cases = {
        "missing": tmp_path / "absent.png",
        "empty": tmp_path / "empty.png",
        "truncated": tmp_path / "new\nline.png",
        "unsupported": b"%PDF-1.4",
    }
    for code, source in cases.items():
        verdict = inspector.inspect(source)
        assert verdict.error is not None
        assert verdict.error.startswith(f"{code}: ")
        assert verdict.error.isprintable()
        assert (verdict.label, verdict.decision, verdict.score, verdict.probabilities) == (
            None,
            None,
            None,
            {},
        )
    assert inspector.inspect(np.zeros((4, 4), np.float32)).error
    assert inspector.inspect(object()).error  # type: ignore[arg-type]


def test_to_dict_is_plain(inspector: Inspector) -> None:
    verdict = inspector.inspect(np.zeros(SHAPE, np.uint8)).to_dict()
    assert list(verdict) == ["path", "label", "decision", "score", "probabilities", "error", "model_sha256"]
    assert {type(value) for value in verdict["probabilities"].values()} == {float}
    assert Verdict().to_dict()["error"] is None


def test_several_threads_may_share_one_inspector(inspector: Inspector) -> None:
    images = np.random.default_rng(9).integers(0, 256, (24, *SHAPE), dtype=np.uint8)
    expected = [inspector.inspect(image).probabilities for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda image: inspector.inspect(image).probabilities, images)) == expected


def test_the_engine_burns_nothing_between_two_pictures(sealed: bytes) -> None:
    engine = Engine(sealed, threads=2)
    engine.run(np.zeros((8, *SHAPE), np.uint8))
    start = time.process_time()
    time.sleep(0.4)
    assert time.process_time() - start < 0.05  # a spinning pool burns close to the whole time


def test_memory_stays_flat(sealed: bytes) -> None:
    engine, images = Engine(sealed, threads=1), np.zeros((31, *SHAPE), np.uint8)
    resident = []
    for round in range(400):
        engine.run(images[: 1 + round % 31])
        if round in (100, 399):
            statm = Path("/proc/self/statm")
            resident.append(int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0)
    assert resident[1] - resident[0] < 2 * 2**20


@given(st.integers(0, 100))
def test_buckets_cut_without_padding(count: int) -> None:
    images = np.arange(count, dtype=np.uint8)
    parts = in_buckets(images)
    assert all(len(part) in BUCKETS for part in parts)
    np.testing.assert_array_equal(np.concatenate([images[:0], *parts]), images)
    assert len(parts) <= count // BUCKETS[0] + len(BUCKETS) - 1


def test_wrong_pixels_and_options_are_refused(inspector: Inspector, sealed: bytes) -> None:
    for pixels in (
        np.zeros((1, 20, 24, 1), np.uint8),
        np.zeros((0, *SHAPE), np.uint8),
        np.zeros((1, *SHAPE), np.float32),
        np.zeros(SHAPE, np.uint8),
    ):
        with pytest.raises(EyelineError, match=r"allowed: uint8 \(N, 20, 24, 3\)"):
            inspector.run(pixels)
    for threads in (0, -1, 257, True, "2"):
        with pytest.raises(EyelineError, match="threads is"):
            load(sealed, threads=threads)  # type: ignore[arg-type]


def test_load_replays_a_golden_image(model: onnx.ModelProto, contract: Contract) -> None:
    first = contract.golden[0]
    p = first.probabilities[0] - 2e-4
    wrong = first.model_copy(update={"probabilities": (p, 1 - p)})
    changed = contract.model_copy(update={"golden": (wrong, *contract.golden[1:])})
    data = seal(model.SerializeToString(), changed)
    with pytest.raises(GateError, match="golden image gives other probabilities") as caught:
        load(data)
    assert caught.value.code == "golden"
    assert load(data, verify=False).contract == changed


def test_errors_of_the_engine_and_the_replay_name_the_file(
    model: onnx.ModelProto, contract: Contract, tmp_path: Path
) -> None:
    broken = onnx.ModelProto.FromString(model.SerializeToString())
    broken.graph.node[5].op_type = "Frobnicate"
    path = tmp_path / "odd.onnx"
    path.write_bytes(seal(broken.SerializeToString(), contract))
    with pytest.raises(EyelineError) as caught:
        load(path)
    assert caught.value.path == str(path)


def test_pictures_that_break_the_network_are_found_one_by_one(
    model: onnx.ModelProto, contract: Contract
) -> None:
    """A graph that answers NaN for black pictures only: its neighbours in the batch keep their verdicts."""
    odd = onnx.ModelProto.FromString(model.SerializeToString())
    names = [node.op_type for node in odd.graph.node]
    odd.graph.node[names.index("Div")].input[1] = "total"
    total = onnx.helper.make_node("ReduceMax", ["pixels", "all"], ["total"], keepdims=0)
    axes = onnx.numpy_helper.from_array(np.array([1, 2, 3], np.int64), "all")
    column = onnx.helper.make_node("Unsqueeze", ["total", "last"], ["column"])
    odd.graph.node[names.index("Div")].input[1] = "column"
    odd.graph.initializer.extend([axes, onnx.numpy_helper.from_array(np.array([1], np.int64), "last")])
    del odd.graph.node[:]
    odd.graph.node.extend([*model.graph.node[:2], total, column, *model.graph.node[2:]])
    divide = next(node for node in odd.graph.node if node.op_type == "Div")
    divide.input[1] = "column"
    odd.opset_import[0].version = 18
    inspector = load(seal(odd.SerializeToString(), contract), verify=False)
    images = [np.full(SHAPE, value, np.uint8) for value in (200, 0, 90, 30)]
    errors = [verdict.error for verdict in inspector.predict(images, batch=4)]
    assert [error is None for error in errors] == [True, False, True, True]
    assert errors[1] is not None
    assert errors[1].startswith("bad_answer: ")


def test_the_name_of_the_artifact_is_its_hash(inspector: Inspector, artifact_path: Path) -> None:
    assert inspector.sha256 == open_artifact(artifact_path).sha256
    assert len(inspector.sha256) == 64
    assert threading.active_count() < 20

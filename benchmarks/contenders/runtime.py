"""One contender of benchmarks/runtime.py in a process of its own: `runtime.py KIND OPTIONS-AS-JSON`.

It prints one JSON line when it is ready, then for every number read from standard input one with the seconds of so many
runs. Only what the contender itself needs is imported.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Work = Callable[[], Any]
WARM = 5


def artifact(o: dict[str, Any]) -> tuple[Work, str]:
    """One decoded image through a shipped artifact."""
    from eyeline.runtime import load

    inspector = load(o["model"], engine=o["engine"], threads=o["threads"])
    pixels = _pixels(o)
    return lambda: inspector.run(pixels), inspector.engine.name


def eager(o: dict[str, Any]) -> tuple[Work, str]:
    """timm's network in PyTorch."""
    import torch

    net, x = _timm(o), torch.from_numpy(_floats(o))
    if o.get("channels_last"):
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    return _torch_work(net, x, o), f"torch {torch.__version__}"


def compiled(o: dict[str, Any]) -> tuple[Work, str]:
    """timm's network through torch.compile, frozen, in its usual mode."""
    import torch

    torch._inductor.config.freezing = True
    net, x = torch.compile(_timm(o)), torch.from_numpy(_floats(o))
    work = _torch_work(net, x, o)
    work()  # compiles
    return work, f"torch {torch.__version__}"


def plain_onnxruntime(o: dict[str, Any]) -> tuple[Work, str]:
    """timm's network as torch.onnx exports it, in onnxruntime with its own defaults but for the threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = o["threads"]
    session = onnxruntime.InferenceSession(_export(o), options, providers=["CPUExecutionProvider"])
    x = _floats(o)
    return lambda: session.run(None, {"x": x}), f"onnxruntime {onnxruntime.__version__}"


def plain_openvino(o: dict[str, Any]) -> tuple[Work, str]:
    """The same export in OpenVINO, for one image, with the hint for low latency."""
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": o["threads"],
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(core.read_model(_export(o)), "CPU", settings).create_infer_request()
    x = _floats(o)
    return lambda: request.infer({"x": x}), f"OpenVINO {openvino.__version__}"


def predict(o: dict[str, Any]) -> tuple[Work, str]:
    """Files to verdicts as `eyeline predict` does it."""
    from eyeline.runtime import load

    inspector, files = load(o["model"], engine=o["engine"], threads=o["threads"]), _files(o)

    def work() -> None:
        assert sum(verdict.error is None for verdict in inspector.predict(files)) == len(files)

    return work, inspector.engine.name


def plain_loop(o: dict[str, Any]) -> tuple[Work, str]:
    """What most people write: PIL, NumPy, onnxruntime as it comes, file after file. On Eyeline's own graph."""
    import onnxruntime
    from PIL import Image

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = o["threads"]
    session = onnxruntime.InferenceSession(o["model"], options, providers=["CPUExecutionProvider"])
    files, mode, side = _files(o), "L" if o["channels"] == 1 else "RGB", o["side"]

    def work() -> None:
        for path in files:
            picture = Image.open(path).convert(mode).resize((side, side), Image.Resampling.BILINEAR)
            session.run(["probabilities"], {"image": np.asarray(picture).reshape(1, side, side, -1)})

    return work, f"onnxruntime {onnxruntime.__version__}"


def fastai(o: dict[str, Any]) -> tuple[Work, str]:
    """`Learner.get_preds` on the same files, network and weights of the run; 64 images a batch, two loaders."""
    import torch

    _networks_tests()
    import fastai
    from fastai.vision.all import ImageDataLoaders, Learner, PILImage, PILImageBW, Resize, ResizeMethod

    from eyeline.networks import create_network, fold_batch_norm
    from eyeline.training.checkpoint import read_tensors

    torch.set_num_threads(o["threads"])
    files, side = _files(o), o["side"]
    net = create_network(o["network"], num_classes=2, in_channels=o["channels"], image_size=(side, side))
    run = Path(o["run"])  # a run that keeps its fitted head has the networks of its folds alone
    tensors, _ = read_tensors(
        next(
            path
            for path in (run / "checkpoints/best.safetensors", run / "folds/1/network.safetensors")
            if path.exists()
        )
    )
    if set(tensors) != set(net.state_dict()):
        fold_batch_norm(net, torch.zeros(1, o["channels"], side, side))
    net.load_state_dict(tensors)
    with tempfile.TemporaryDirectory() as folder:
        loaders = ImageDataLoaders.from_lists(
            folder,
            files,
            ["good", "bad"] * (len(files) // 2) + ["good"] * (len(files) % 2),
            valid_pct=0.5,
            bs=64,
            num_workers=2,
            item_tfms=Resize(side, method=ResizeMethod.Squish),
            img_cls=PILImageBW if o["channels"] == 1 else PILImage,
        )
    learner = Learner(loaders, net.eval(), loss_func=torch.nn.functional.cross_entropy)
    test = loaders.test_dl(files)

    def work() -> None:
        with learner.no_bar(), learner.no_logging():
            found, _ = learner.get_preds(dl=test)
        assert len(found) == len(files)

    return work, f"fastai {fastai.__version__}"


def _pixels(o: dict[str, Any]) -> Any:
    shape = (1, o["side"], o["side"], o["channels"])
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _floats(o: dict[str, Any]) -> Any:
    return ((_pixels(o).transpose(0, 3, 1, 2) / 255 - 0.45) / 0.23).astype(np.float32)


def _files(o: dict[str, Any]) -> list[str]:
    found: list[str] = json.loads(Path(o["files"]).read_text())
    for path in found:
        Path(path).read_bytes()  # into the page cache, for all alike
    return found


def _networks_tests() -> None:
    """Lets torchvision be imported where its extension does not fit."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "networks"))
    import peers  # noqa: F401


def _timm(o: dict[str, Any]) -> Any:
    _networks_tests()
    import timm
    import torch

    torch.manual_seed(0)
    return timm.create_model(o["timm"], pretrained=False, num_classes=2, in_chans=o["channels"]).eval()


def _torch_work(net: Any, x: Any, o: dict[str, Any]) -> Work:
    import torch

    torch.set_num_threads(o["threads"])

    def work() -> None:
        with torch.inference_mode():
            net(x)

    return work


def _export(o: dict[str, Any]) -> bytes:
    import logging

    import torch

    logging.disable(logging.CRITICAL)
    program = torch.onnx.export(
        _timm(o), (torch.from_numpy(_floats(o)),), dynamo=True, input_names=["x"], verbose=False
    )
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


KINDS = {
    made.__name__: made
    for made in (
        artifact,
        eager,
        compiled,
        plain_onnxruntime,
        plain_openvino,
        predict,
        plain_loop,
        fastai,
    )
}


def main() -> None:
    kind, options = sys.argv[1], json.loads(sys.argv[2])
    work, engine = KINDS[kind](options)
    for _ in range(1 if "files" in options else WARM):
        work()
    print(json.dumps({"engine": engine}), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()

"""From a trained network to a plain ONNX graph: uint8 picture in; probabilities, logits and evidence out."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.errors import EyelineError
from eyeline.runtime import Evidence
from eyeline.shipping.fold import fold_normalization, operator_counts, replace_batch_norm, strip
from eyeline.verdicts import CLIP, FeatureSpace

OPSET = 18
IR_VERSION = 8  # the one that came with opset 18
Beta = tuple[tuple[float, float, float], int]  # a, b, c, and the number of the good class
_UNLIMITED = 2**62
_OUTPUTS = ("probabilities", "logits", "evidence", "novelty")
_TRAINING_OPERATORS = ("BatchNormalization", "Dropout")


@dataclass(frozen=True)
class Exported:
    """A graph and what its evidence output is worth."""

    model: onnx.ModelProto
    evidence: Evidence


class Inspection(nn.Module):
    """A network with its normalization, calibration and evidence: what the graph computes.

    For a network that ends in global average pooling and one linear layer, logit k is the mean over positions
    of ``W[k] . features`` plus the bias. The evidence map is that product before the mean, divided by the
    number of positions; its sum plus the bias is the logit (class activation maps, Zhou et al. 2016, arXiv
    1512.04150; faithful for such heads: HiResCAM, Draelos and Carin 2020, arXiv 2011.08891).
    """

    centre: Tensor
    scale: Tensor
    space_means: Tensor
    space_basis: Tensor
    space_weights: Tensor

    def __init__(
        self,
        net: Any,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        temperature: float,
        exact: bool,
        space: FeatureSpace | None = None,
        beta: Beta | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature
        self.beta = beta
        self.exact = exact
        shape = (1, -1, 1, 1)
        centre = torch.tensor(list(mean), dtype=torch.float64) * 255
        scale = 1 / (torch.tensor(list(std), dtype=torch.float64) * 255)
        self.register_buffer("centre", centre.float().reshape(shape))
        self.register_buffer("scale", scale.float().reshape(shape))
        self.space = space
        if space is not None:
            for name in ("means", "basis", "weights"):
                self.register_buffer(f"space_{name}", torch.from_numpy(getattr(space, name)).float())

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """uint8 ``(N, H, W, C)`` to probabilities, logits ``(N, K)``, evidence ``(N, K, h, w)``, novelty ``(N,)``."""
        x = (image.permute(0, 3, 1, 2).float() - self.centre) * self.scale
        if not self.exact:
            logits = self.net(x)
            return self._calibrated(logits), logits
        features, head = self.net.forward_features(x), self.net.head
        positions = features.shape[2] * features.shape[3]
        evidence = F.conv2d(features, (head.weight / positions)[:, :, None, None])
        pooled = features.mean((2, 3))
        logits = head(pooled)
        outputs = (self._calibrated(logits), logits, evidence)
        return outputs if self.space is None else (*outputs, self._novelty(pooled, self.space.scale))

    def _calibrated(self, logits: Tensor) -> Tensor:
        """Probabilities ``(N, K)``; with `beta` those of `BetaCalibration.apply_logits`."""
        if self.beta is None:
            return torch.softmax(logits / self.temperature, 1)
        (a, b, c), good = self.beta
        logs = F.log_softmax(logits, 1).clamp(math.log(CLIP), math.log1p(-CLIP))
        columns = [b * logs[:, good], a * logs[:, 1 - good] + c]
        return torch.softmax(torch.stack(columns if good == 0 else columns[::-1], 1), 1)

    def _novelty(self, pooled: Tensor, scale: float) -> Tensor:
        """`FeatureSpace.distances` of ``(N, C)``."""
        length = (pooled * pooled).sum(1, keepdim=True).sqrt().clamp_min(1e-12)
        off = (pooled / length)[:, None, :] - self.space_means
        along = off @ self.space_basis
        return (scale * (off * off).sum(2) - (along * along) @ self.space_weights).amin(1)


def to_onnx(
    net: nn.Module,
    *,
    image_size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    temperature: float = 1.0,
    name: str = "eyeline",
    space: FeatureSpace | None = None,
    beta: Beta | None = None,
) -> Exported:
    """Export a network in its evaluation mode; `net` itself is left as it is.

    Parameters
    ----------
    net : takes normalized ``(N, C, H, W)`` and gives logits ``(N, K)``.
    image_size : height and width, in pixels; the batch stays free.
    mean, std : a value a channel, in units of [0, 1].
    space : of the pooled features, for an output ``novelty``; only where the evidence is exact.
    beta : (a, b, c) and the good class of two, in place of a temperature.

    Raises
    ------
    EyelineError : ``export`` when the network cannot be expressed in standard operators, or has no pooled features.
    """
    frozen: Any = copy.deepcopy(net).to("cpu", torch.float32).eval()
    frozen.to(memory_format=torch.contiguous_format)
    for module in frozen.modules():
        if hasattr(module, "inplace"):  # which the exporter takes apart into many steps, and twice as long
            module.inplace = False
    image = torch.randint(0, 256, (2, *image_size, len(mean)), dtype=torch.uint8, generator=_generator())
    with torch.no_grad():
        exact = _is_exact(frozen, image, mean, std)
        if space is not None and not exact:
            raise EyelineError("only networks with exact evidence can tell unknown objects", code="export")
        wrapped = Inspection(
            frozen, mean=mean, std=std, temperature=temperature, exact=exact, space=space, beta=beta
        ).eval()
        model = _export(wrapped, image, _OUTPUTS[: 2 + exact + (space is not None)])
    fold_normalization(model)
    replace_batch_norm(model)
    strip(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.graph.name = "eyeline", "", name
    left = [op for op in _TRAINING_OPERATORS if operator_counts(model)[op]]
    if left:
        raise EyelineError(f"the exported graph still holds {' and '.join(left)}", code="export")
    return Exported(model, Evidence(exact=exact, bias=_bias(frozen.head) if exact else ()))


def _is_exact(net: Any, image: Tensor, mean: Sequence[float], std: Sequence[float]) -> bool:
    """Is the network a map of features, their average, and one linear layer? Asked by trying."""
    head = getattr(net, "head", None)
    if not isinstance(head, nn.Linear) or not hasattr(net, "forward_features"):
        return False
    x = Inspection(net, mean=mean, std=std, temperature=1.0, exact=False)
    normalized = (image.permute(0, 3, 1, 2).float() - x.centre) * x.scale
    features, logits = net.forward_features(normalized), net(normalized)
    if features.ndim != 4 or features.shape[1] != head.in_features:
        return False
    return torch.allclose(
        head(features.mean((2, 3))), logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max())
    )


def _export(wrapped: Inspection, image: Tensor, outputs: Sequence[str]) -> onnx.ModelProto:
    import onnxscript.optimizer

    with _quiet():
        try:
            program = torch.onnx.export(
                wrapped,
                (image,),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                optimize=False,
                verbose=False,
                input_names=["image"],
                output_names=list(outputs),
                dynamic_shapes={"image": {0: torch.export.Dim("N", min=1)}},
            )
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise EyelineError(f"the network cannot be exported: {reason}", code="export") from error
        assert program is not None
        # Without limits, so that kernels padded on the way become plain constants that batch norms fold into.
        onnxscript.optimizer.optimize_ir(
            program.model, input_size_limit=_UNLIMITED, output_size_limit=_UNLIMITED
        )
        model: onnx.ModelProto = program.model_proto
    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise EyelineError(
            "the network cannot be exported: its code fixes the number of images",
            code="export",
            hint="ask tensors for x.shape[0], not for len(x)",
        )
    return model


def _bias(head: nn.Linear) -> tuple[float, ...]:
    return (0.0,) * head.out_features if head.bias is None else tuple(head.bias.tolist())


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn and log about their own insides; the gate judges the result instead."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)

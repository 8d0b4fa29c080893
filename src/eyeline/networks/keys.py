"""How the keys of other libraries' state dicts map to ours, one function a family and layout.

Each function takes one of our module paths ("stage1.0.convs.0.conv") and the set of all of them, and returns
the path of the same layer elsewhere; those of a `Key` type take and return the leaf (weight, bias ...) as
well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

Key = Callable[[str, str, Collection[str]], str]


def by_path(rename: Callable[[str, Collection[str]], str]) -> Key:
    """A renaming of the path only: the leaf is the same in both layouts."""
    return lambda path, leaf, paths: f"{rename(path, paths)}.{leaf}"


def alexnet_torchvision(path: str, paths: Collection[str]) -> str:
    """torchvision: features and classifier, numbered with every activation, pooling and dropout."""
    return {
        "stage1.0": "features.0",
        "stage2.0": "features.3",
        "stage3.0": "features.6",
        "stage4.0": "features.8",
        "stage5.0": "features.10",
        "hidden.1": "classifier.1",
        "hidden.4": "classifier.4",
        "head": "classifier.6",
    }[path]


def vgg_torchvision(path: str, paths: Collection[str]) -> str:
    """torchvision: all stages in one sequence."""
    whole = {"hidden.0": "classifier.0", "hidden.3": "classifier.3", "head": "classifier.6"}
    return whole[path] if path in whole else f"features.{_flat(path, paths)}"


def vgg_timm(path: str, paths: Collection[str]) -> str:
    """timm: as torchvision, the hidden layers as convolutions."""
    whole = {"hidden.0": "pre_logits.fc1", "hidden.3": "pre_logits.fc2", "head": "head.fc"}
    return whole[path] if path in whole else f"features.{_flat(path, paths)}"


def resnet_torchvision(path: str, paths: Collection[str]) -> str:
    """Also timm's keys."""
    if path == "head":
        return "fc"
    if match := re.fullmatch(r"stem\.(\d)\.(conv|norm)", path):
        index, part = int(match[1]), match[2]
        if "stem.1.conv" not in paths:
            return "conv1" if part == "conv" else "bn1"
        if part == "norm" and index == 2:
            return "bn1"
        return f"conv1.{3 * index + (part == 'norm')}"
    if match := re.fullmatch(r"stage(\d)\.(\d+)\.convs\.(\d)\.(conv|norm)", path):
        return f"layer{match[1]}.{match[2]}.{'conv' if match[4] == 'conv' else 'bn'}{int(match[3]) + 1}"
    match = re.fullmatch(r"stage(\d)\.(\d+)\.shortcut\.(\d)\.(conv|norm)", path)
    assert match, path
    return f"layer{match[1]}.{match[2]}.downsample.{int(match[3]) + (match[4] == 'norm')}"


_CONVNEXT = re.compile(r"stage(\d)\.(\d+)\.?(\w*)")
_MBCONV = re.compile(r"stage(\d)\.(\d+)\.(expand|depthwise|squeeze|project)\.(conv|norm|reduce|expand)")


def efficientnet_timm(path: str, paths: Collection[str]) -> str:
    """timm: blocks.<stage>.<block>, convolutions named by what they do, batch norms by number."""
    whole = {"stem.conv": "conv_stem", "stem.norm": "bn1", "top.conv": "conv_head", "top.norm": "bn2"}
    if path in whole or path == "head":
        return whole.get(path, "classifier")
    stage, block, part, layer = _split(_MBCONV, path)
    ours, theirs = f"stage{stage}.{block}", f"blocks.{int(stage) - 1}.{block}"
    if part == "squeeze":
        return f"{theirs}.se.conv_{layer}"
    parts = [p for p in ("expand", "depthwise", "project") if f"{ours}.{p}.conv" in paths]
    if layer == "norm":
        return f"{theirs}.bn{parts.index(part) + 1}"
    names = {
        ("expand",): ("conv",),
        ("depthwise", "project"): ("conv_dw", "conv_pw"),
        ("expand", "project"): ("conv_exp", "conv_pwl"),
        ("expand", "depthwise", "project"): ("conv_pw", "conv_dw", "conv_pwl"),
    }[tuple(parts)]
    return f"{theirs}.{names[parts.index(part)]}"


def efficientnet_torchvision(path: str, paths: Collection[str]) -> str:
    """torchvision: features.<stage>.<block>.block.<part>.<0 conv, 1 norm>."""
    if path == "head":
        return "classifier.1"
    stages = max(int(p[5]) for p in paths if p.startswith("stage"))
    if path.startswith(("stem", "top")):
        name, layer = path.split(".")
        return f"features.{0 if name == 'stem' else stages + 1}.{int(layer == 'norm')}"
    stage, block, part, layer = _split(_MBCONV, path)
    parts = [p for p in ("expand", "depthwise", "squeeze", "project") if f"stage{stage}.{block}.{p}" in paths]
    theirs = f"features.{stage}.{block}.block.{parts.index(part)}"
    if part == "squeeze":
        return f"{theirs}.fc{1 if layer == 'reduce' else 2}"
    return f"{theirs}.{int(layer == 'norm')}"


def efficientnet_lukemelas(path: str, paths: Collection[str]) -> str:
    """EfficientNet-PyTorch, whose layout the Lite packages have: blocks numbered through all stages."""
    whole = {"stem.conv": "_conv_stem", "stem.norm": "_bn0", "top.conv": "_conv_head", "top.norm": "_bn1"}
    if path in whole or path == "head":
        return whole.get(path, "_fc")
    stage, block, part, layer = _split(_MBCONV, path)
    names = {
        "expand.conv": "_expand_conv",
        "expand.norm": "_bn0",
        "depthwise.conv": "_depthwise_conv",
        "depthwise.norm": "_bn1",
        "squeeze.reduce": "_se_reduce",
        "squeeze.expand": "_se_expand",
        "project.conv": "_project_conv",
        "project.norm": "_bn2",
    }
    return f"_blocks.{_flat(f'stage{stage}.{block}', paths)}.{names[f'{part}.{layer}']}"


def mobilenet_timm(path: str, paths: Collection[str]) -> str:
    """timm: as EfficientNet; V3 has the last convolution as one more stage, the hidden layer as a convolution."""
    if "hidden.0" in paths:
        stages = max(int(p[5]) for p in paths if p.startswith("stage"))
        v3 = {
            "top.conv": f"blocks.{stages}.0.conv",
            "top.norm": f"blocks.{stages}.0.bn1",
            "hidden.0": "conv_head",
        }
        if path in v3:
            return v3[path]
    return efficientnet_timm(path, paths)


def mobilenet_torchvision(path: str, paths: Collection[str]) -> str:
    """torchvision: one sequence of blocks; V2 names a block's layers "conv", V3 "block"."""
    v3 = "hidden.0" in paths
    if path in ("head", "hidden.0"):
        return f"classifier.{(3 if path == 'head' else 0) if v3 else 1}"
    blocks = sum(1 for p in paths if re.fullmatch(r"stage\d\.\d+", p))
    if path.startswith(("stem", "top")):
        name, layer = path.split(".")
        return f"features.{0 if name == 'stem' else blocks + 1}.{int(layer == 'norm')}"
    stage, block, part, layer = _split(_MBCONV, path)
    ours = f"stage{stage}.{block}"
    parts = [p for p in ("expand", "depthwise", "squeeze", "project") if f"{ours}.{p}" in paths]
    theirs = f"features.{_flat(ours, paths) + 1}.{'block' if v3 else 'conv'}"
    if part == "squeeze":
        return f"{theirs}.{parts.index(part)}.fc{1 if layer == 'reduce' else 2}"
    if part == "project" and not v3:
        return f"{theirs}.{parts.index(part) + (layer == 'norm')}"
    return f"{theirs}.{parts.index(part)}.{int(layer == 'norm')}"


def vit_timm(path: str, leaf: str, paths: Collection[str]) -> str:
    """timm: blocks from 0."""
    if leaf in ("class_token", "position"):
        return {"class_token": "cls_token", "position": "pos_embed"}[leaf]
    whole = {"stem.project": "patch_embed.proj", "norm": "norm", "head": "head"}
    if path in whole:
        return f"{whole[path]}.{leaf}"
    block, part = _split(re.compile(r"block(\d+)\.(.+)"), path)
    parts = {
        "attention.qkv": "attn.qkv",
        "attention.project": "attn.proj",
        "mlp.0": "mlp.fc1",
        "mlp.2": "mlp.fc2",
    }
    return f"blocks.{int(block) - 1}.{parts.get(part, part)}.{leaf}"


def vit_torchvision(path: str, leaf: str, paths: Collection[str]) -> str:
    """torchvision: the attention is nn.MultiheadAttention, whose in_proj is our qkv."""
    if leaf in ("class_token", "position"):
        return {"class_token": "class_token", "position": "encoder.pos_embedding"}[leaf]
    whole = {"stem.project": "conv_proj", "norm": "encoder.ln", "head": "heads.head"}
    if path in whole:
        return f"{whole[path]}.{leaf}"
    block, part = _split(re.compile(r"block(\d+)\.(.+)"), path)
    theirs = f"encoder.layers.encoder_layer_{int(block) - 1}"
    if part == "attention.qkv":
        return f"{theirs}.self_attention.in_proj_{leaf}"
    parts = {
        "norm1": "ln_1",
        "norm2": "ln_2",
        "attention.project": "self_attention.out_proj",
        "mlp.0": "mlp.0",
        "mlp.2": "mlp.3",
    }
    return f"{theirs}.{parts[part]}.{leaf}"


def convnext_timm(path: str, leaf: str, paths: Collection[str]) -> str:
    """timm: the down-sampling is a part of its stage, as here, but beside the blocks."""
    if path in ("norm", "head"):
        return f"head.{'fc' if path == 'head' else 'norm'}.{leaf}"
    if path.startswith("stem"):
        return f"{path}.{leaf}"
    stage, index, part = _split(_CONVNEXT, path)
    theirs, index_in_stage = f"stages.{int(stage) - 1}", int(index) - (2 if int(stage) > 1 else 0)
    if index_in_stage < 0:
        return f"{theirs}.downsample.{index}.{leaf}"
    names = {"depthwise": "conv_dw", "norm": "norm", "expand": "mlp.fc1", "project": "mlp.fc2"}
    block = f"{theirs}.blocks.{index_in_stage}"
    return f"{block}.gamma" if leaf == "scale" else f"{block}.{names[part]}.{leaf}"


def convnext_torchvision(path: str, leaf: str, paths: Collection[str]) -> str:
    """torchvision: stages and down-samplings take turns in one sequence."""
    if path in ("norm", "head"):
        return f"classifier.{2 if path == 'head' else 0}.{leaf}"
    if path.startswith("stem"):
        return f"features.0.{path[-1]}.{leaf}"
    stage, index, part = _split(_CONVNEXT, path)
    index_in_stage = int(index) - (2 if int(stage) > 1 else 0)
    if index_in_stage < 0:
        return f"features.{2 * int(stage) - 2}.{index}.{leaf}"
    names = {"depthwise": 0, "norm": 2, "expand": 3, "project": 5}
    block = f"features.{2 * int(stage) - 1}.{index_in_stage}"
    return f"{block}.layer_scale" if leaf == "scale" else f"{block}.block.{names[part]}.{leaf}"


def _flat(path: str, paths: Collection[str]) -> int:
    """The number of "stage2.0" when the stages' children are numbered through."""
    stage, index = _split(re.compile(r"stage(\d)\.(\d+)"), path)
    children = (re.fullmatch(r"stage(\d)\.\d+", p) for p in paths)
    return sum(1 for child in children if child and int(child[1]) < int(stage)) + int(index)


def _split(pattern: re.Pattern[str], path: str) -> tuple[str, ...]:
    match = pattern.fullmatch(path)
    assert match, path
    return match.groups()


# family: layout: (a key that only this layout has, how to rename). Without any of them the keys are our own.
LAYOUTS: dict[str, dict[str, tuple[str, Key]]] = {
    "lenet": {},
    "alexnet": {"torchvision": ("features.0.weight", by_path(alexnet_torchvision))},
    "vgg": {
        "timm": ("pre_logits.fc1.weight", by_path(vgg_timm)),
        "torchvision": ("features.0.weight", by_path(vgg_torchvision)),
    },
    "resnet": {"torchvision": ("layer1.0.conv1.weight", by_path(resnet_torchvision))},
    "mobilenet": {
        "timm": ("conv_stem.weight", by_path(mobilenet_timm)),
        "torchvision": ("features.0.0.weight", by_path(mobilenet_torchvision)),
    },
    "efficientnet": {
        "timm": ("conv_stem.weight", by_path(efficientnet_timm)),
        "torchvision": ("features.0.0.weight", by_path(efficientnet_torchvision)),
        "lukemelas": ("_conv_stem.weight", by_path(efficientnet_lukemelas)),
    },
    "vit": {
        "timm": ("cls_token", vit_timm),
        "torchvision": ("class_token", vit_torchvision),
    },
    "convnext": {
        "timm": ("stages.0.blocks.0.gamma", convnext_timm),
        "torchvision": ("features.0.0.weight", convnext_torchvision),
    },
}

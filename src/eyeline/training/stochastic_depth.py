"""Stochastic depth (Huang et al. 2016, arXiv 1603.09382): residual blocks that are skipped now and then in training."""

from __future__ import annotations

from eyeline.errors import EyelineError
from eyeline.networks import DropPath, Network


def set_drop_path(net: Network, rate: float) -> int:
    """Let each residual block lose its branch with a probability that rises linearly with depth.

    Parameters
    ----------
    rate : of the last block; the first is never skipped. 0 leaves the network as it was built.

    Returns
    -------
    How many blocks that are.

    Raises
    ------
    EyelineError : the network has no residual blocks (``code="bad_recipe"``).
    """
    if rate == 0:
        return 0
    paths = [
        child
        for block in net.modules()
        if getattr(block, "skip", True)  # without a way around it, a branch must not be lost
        for child in block.children()
        if isinstance(child, DropPath)
    ]
    if not paths:
        raise EyelineError(
            f"drop_path is {rate:g}, but {net.name or type(net).__name__} has no residual blocks to skip",
            code="bad_recipe",
            hint="set drop_path = 0, or take a network with residual blocks such as resnet18",
        )
    for number, path in enumerate(paths):
        path.rate = rate * number / (len(paths) - 1) if len(paths) > 1 else rate
    return len(paths)

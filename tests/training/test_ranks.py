"""Several real processes (gloo) train as one: the same losses, the same figures, one writer, one moment to stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eyeline.errors import EyelineError
from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Ranks, Recipe, fit

# Runs in each process: meets the others through a file, so no port is fixed.
SCRIPT = """
import hashlib, json, os, signal, sys
from pathlib import Path
import numpy as np, torch, torch.distributed as dist
from eyeline.errors import EyelineError, Interrupted
from eyeline.images import read_images
from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Ranks, Recipe, fit, join_ranks
from eyeline.training import loop

torch.set_num_threads(1)
folder, rank, count, wish = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
if count > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=count)
table = read_images("digits")
part = table.select(np.flatnonzero(np.isin(table.targets, [0, 8])))
pixels = np.ascontiguousarray(part.pixels.repeat(2, 1).repeat(2, 2))
rows = np.arange(len(part))
examples = Examples(pixels=pixels, targets=(part.targets > 0).astype(np.int64), classes=2,
    train=rows[:95], val=rows[95:212], folds=rows[:95] % 3, weights=1 + rows % 3 / 2)
torch.manual_seed(rank)  # the first process's network is what all begin with
net = create_network(wish["network"], num_classes=2, in_channels=1)
recipe = Recipe(dropout=0.0, **wish["recipe"])

step = loop.Trainer.step
losses = []
def note(self, *arguments):
    losses.append(step(self, *arguments))
    if wish.get("die") == [rank, len(losses)]:
        os.kill(os.getpid(), signal.SIGKILL)
    return losses[-1]
loop.Trainer.step = note

def say(stage, done, total, text):
    if stage == "training" and wish.get("interrupt") == [rank, done]:
        os.kill(os.getpid(), signal.SIGTERM)

with join_ranks() as ranks:
    assert (ranks.rank, ranks.count) == (rank, count)
    try:
        found = fit(net, examples, recipe, Normalization((0.5,), (0.5,)), folder=folder / "run", resume=True,
            ranks=ranks, progress=say)
    except (Interrupted, EyelineError) as error:
        print(json.dumps({"error": error.code, "steps": len(losses)}))
        sys.exit(75 if error.code == "interrupted" else 2)
bits = b"".join(value.contiguous().numpy().tobytes() for value in found.network.state_dict().values())
result = {"losses": losses, "history": found.history, "bits": hashlib.sha256(bits).hexdigest(),
    "types": sorted({type(m).__name__ for m in found.network.modules()})}
if count > 1 and "norm" in wish:
    from eyeline.training.shared_norm import share_batch_norm
    norm = torch.nn.Sequential(torch.nn.BatchNorm2d(3)).double()
    share_batch_norm(norm)
    x = torch.tensor(wish["norm"], dtype=torch.float64)[ranks.share(len(wish["norm"]))].requires_grad_()
    y = norm(x)
    (y ** 3).sum().backward()
    result["norm"] = [t.tolist() for t in (y, x.grad, norm[0].running_mean, norm[0].running_var)]
print(json.dumps(result))
"""


def together(folder: Path, count: int, wish: dict) -> list[tuple[int, dict]]:
    """Exit code and result of each of `count` processes."""
    folder.mkdir(exist_ok=True)
    (folder / "meet").unlink(missing_ok=True)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), str(rank), str(count), json.dumps(wish)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    return [
        (process.returncode, json.loads(output.splitlines()[-1]) if output.strip() else {})
        for process, output in zip(processes, outputs, strict=True)
    ]


def same_but_for_time(history: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


# 15 images a step: shares of 7 and 8. Seven steps an epoch of 95 images, the last one filled up.
RECIPE = {"epochs": 2, "batch_size": 15, "learning_rate": 3e-4}
WISH = {"network": "resnet20", "recipe": RECIPE | {"batch_norm": "freeze"}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    ((code, found),) = together(tmp_path_factory.mktemp("alone"), 1, WISH)
    assert code == 0
    return found


def test_two_processes_learn_as_one(alone, tmp_path):
    """Every loss to 1e-5 over 14 steps, with weights that differ by image; 117 validation images are judged once."""
    x = np.random.default_rng(0).normal(2, 3, (7, 3, 4, 5))
    (code, first), (other_code, second) = together(tmp_path, 2, WISH | {"norm": x.tolist()})
    assert code == other_code == 0
    assert len(alone["losses"]) == 14
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=0, atol=1e-5)
    assert first["losses"] == second["losses"]
    assert first["bits"] == second["bits"]
    for row, expected in zip(first["history"], alone["history"], strict=True):
        assert row["val_auroc"] == pytest.approx(expected["val_auroc"], abs=1e-3)
        assert row["val_loss"] == pytest.approx(expected["val_loss"], abs=1e-4)
    # Before the first step the weights are the same bits, and so is the whole validation part.
    assert same_but_for_time(first["history"][:1]) == same_but_for_time(alone["history"][:1])
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]  # one writer

    peer = torch.nn.BatchNorm2d(3).double()
    whole = torch.tensor(x, requires_grad=True)
    y = peer(whole)
    (y**3).sum().backward()
    shares = [found["norm"] for found in (first, second)]
    np.testing.assert_allclose(np.concatenate([share[0] for share in shares]), y.detach(), atol=1e-12)
    np.testing.assert_allclose(np.concatenate([share[1] for share in shares]), whole.grad, atol=1e-11)
    for share in shares:
        np.testing.assert_allclose(share[2], peer.running_mean, atol=1e-12)
        np.testing.assert_allclose(share[3], peer.running_var, atol=1e-12)


@pytest.mark.slow
def test_batch_norm_that_learns_does_so_over_the_whole_batch(tmp_path):
    """To rounding, which the normalisation of small variances and AdamW's division enlarge from step to step."""
    wish = {"network": "resnet20", "recipe": RECIPE}
    ((_, one),) = together(tmp_path / "one", 1, wish)
    (code, two), (_, other) = together(tmp_path / "two", 2, wish)
    assert code == 0
    np.testing.assert_allclose(two["losses"][:2], one["losses"][:2], rtol=0, atol=1e-5)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=0, atol=5e-3)
    assert two["bits"] == other["bits"]
    assert two["types"] == one["types"]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_asking_one_process_to_stop_stops_both_after_the_same_step(tmp_path, rank):
    whole = together(tmp_path / "whole", 2, WISH)
    stopped = together(tmp_path / "run", 2, WISH | {"interrupt": [rank, 4]})
    assert [code for code, _ in stopped] == [75, 75]
    assert [found["steps"] for _, found in stopped] == [4, 4]
    resumed = together(tmp_path / "run", 2, WISH)
    assert [code for code, _ in resumed] == [0, 0]
    assert {found["bits"] for _, found in resumed} == {found["bits"] for _, found in whole}
    assert same_but_for_time(resumed[0][1]["history"]) == same_but_for_time(whole[0][1]["history"])


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_other_and_a_resumed_run_ends_with_the_same_bits(tmp_path, rank):
    whole = together(tmp_path / "whole", 2, WISH)
    together(tmp_path / "run", 2, WISH | {"interrupt": [0, 3]})  # leaves a checkpoint inside an epoch
    killed = together(tmp_path / "run", 2, WISH | {"die": [rank, 6]})
    assert killed[rank][0] == -signal.SIGKILL
    assert killed[1 - rank] == (2, {"error": "rank_lost", "steps": killed[1 - rank][1]["steps"]})
    resumed = together(tmp_path / "run", 2, WISH)
    assert {found["bits"] for _, found in resumed} == {found["bits"] for _, found in whole}
    lines = (tmp_path / "run" / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]


@given(st.integers(0, 300), st.integers(1, 7), st.integers(1, 40))
def test_shares_cover_everything_once_and_are_even(total, count, unit):
    rows = [np.arange(total)[Ranks(rank, count).share(total, unit)] for rank in range(count)]
    assert np.array_equal(np.concatenate(rows), np.arange(total))
    units = [-(-len(part) // unit) for part in rows]
    assert max(units) - min(units) <= 1


def test_alone_nothing_is_sent():
    ranks = Ranks()
    tensor = torch.arange(3.0)
    assert ranks.sum(tensor) is tensor
    assert ranks.tell({"a": [1, None]}) == {"a": [1, None]}
    assert ranks.any(True)
    assert not ranks.any(False)
    assert ranks.share(10) == slice(0, 10)
    ranks.wait()


def test_a_batch_smaller_than_the_processes_is_refused(tmp_path):
    examples = Examples(
        pixels=np.zeros((4, 16, 16, 1), np.uint8),
        targets=np.array([0, 1, 0, 1]),
        classes=2,
        train=np.arange(2),
        val=np.arange(2, 4),
        folds=np.arange(2),
    )
    net = create_network("resnet20", num_classes=2, in_channels=1)
    with pytest.raises(EyelineError, match="batch_size is 1; allowed for 2 processes"):
        fit(
            net,
            examples,
            Recipe(batch_size=1),
            Normalization((0.5,), (0.5,)),
            folder=tmp_path,
            ranks=Ranks(0, 2),
        )

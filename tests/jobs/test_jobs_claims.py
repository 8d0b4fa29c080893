"""``eyeline claims`` from the command line to its files."""

from __future__ import annotations

import json

import pytest

from eyeline.claims import ClaimResult, measure_claim
from eyeline.cli.app import run as eyeline
from eyeline.errors import EyelineError, Interrupted
from eyeline.jobs import claims as job
from eyeline.jobs import measure_claims

QUICK = ("equivariance", "receptive-field")


def call(capsys, *words) -> tuple[int, str, str]:
    code = eyeline([str(word) for word in words])
    return code, *capsys.readouterr()


def test_the_command_writes_what_it_says_and_keeps_it(capsys, tmp_path):
    out = tmp_path / "claims"
    code, text, _ = call(capsys, "claims", *QUICK, "--out", out, "--json")
    assert code == 0
    found = json.loads(text)
    assert [claim["name"] for claim in found["claims"]] == list(QUICK)
    for claim in found["claims"]:
        assert {"name", "statement", "verdict", "effect", "low", "high"} <= set(claim)
        assert claim["verdict"] == "holds"
    assert json.loads((out / "claims.json").read_text()) == found
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["claims.html", "claims.json", *(f"{name}.json" for name in QUICK)]
    )
    before = (out / "equivariance.json").stat().st_mtime_ns
    code, text, _ = call(capsys, "claims", "equivariance", "--out", out)
    assert code == 0
    assert text.startswith("holds         equivariance")
    assert (out / "equivariance.json").stat().st_mtime_ns == before


def test_finished_claims_are_kept_until_settings_change(tmp_path, monkeypatch):
    first = measure_claims(["equivariance"], out=tmp_path)
    assert first.kept == ()
    assert measure_claims(["equivariance"], out=tmp_path).kept == ("equivariance",)
    assert measure_claims(["equivariance"], out=tmp_path, again=True).kept == ()
    assert measure_claims(["equivariance"], out=tmp_path, seeds=6).kept == ()
    (tmp_path / "equivariance.json").write_text("{}")
    assert measure_claims(["equivariance"], out=tmp_path).kept == ()
    assert ClaimResult.model_validate_json((tmp_path / "equivariance.json").read_text()).verdict == "holds"


def test_an_interruption_keeps_what_is_finished(tmp_path, monkeypatch, capsys):
    def measure(name, settings, **options):
        if name == "receptive-field":
            raise KeyboardInterrupt
        return measure_claim(name, settings, **options)

    monkeypatch.setattr(job, "measure_claim", measure)
    with pytest.raises(Interrupted, match="1 of 2 claims are finished and kept"):
        measure_claims(QUICK, out=tmp_path)
    assert call(capsys, "claims", *QUICK, "--out", tmp_path)[0] == 75
    monkeypatch.undo()
    assert measure_claims(QUICK, out=tmp_path).kept == ("equivariance",)


def test_missing_data_stops_a_named_claim_and_is_told_of_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EYELINE_FASHION_MNIST", str(tmp_path / "nowhere"))
    code, _, err = call(capsys, "claims", "residual", "--out", tmp_path / "a")
    assert code == 2
    assert "apt install dataset-fashion-mnist" in err
    assert not (tmp_path / "a").exists()
    monkeypatch.setattr(job, "claim_names", lambda: ["residual", "receptive-field"])
    result = measure_claims(out=tmp_path / "b")
    assert [claim.name for claim in result.claims] == ["receptive-field"]
    assert "apt install dataset-fashion-mnist" in result.not_run["residual"]
    assert result.to_dict()["not_run"][0]["name"] == "residual"
    assert "was not measured" in result.page.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["residul"], "did you mean residual"),
        (["residual", "--seeds", "1"], "--seeds"),
        (["residual", "--budget", "soon"], "budget is 'soon'"),
        (["residual", "--data", "nowhere"], "no such folder, table or data set"),
        (["residual", "--data", "synthetic"], "nowhere"),
    ],
)
def test_wrong_use_is_one_line(capsys, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, "claims", *words)
    assert code == 2
    assert err.count("\n") == 1
    if words[-1] != "synthetic":
        assert told in err
    assert list(tmp_path.iterdir()) == []


def test_the_full_protocol_has_no_budget_and_twice_the_seeds(tmp_path):
    full = measure_claims(["receptive-field"], full=True, out=tmp_path).claims[0].settings
    assert (full.budget, full.seeds, full.full) == (None, 10, True)
    plain = measure_claims(["receptive-field"], out=tmp_path).claims[0].settings
    assert (plain.budget, plain.seeds, plain.full) == (300, 5, False)
    with pytest.raises(EyelineError, match="1 seed; allowed: 2 or more"):
        measure_claims(["receptive-field"], seeds=1, out=tmp_path)

"""Costs, budgets and plans: no torch is needed for these."""

import json
from dataclasses import replace

import pytest

from pixeldistill.cost.cache import remembered
from pixeldistill.cost.costs import Costs, read_costs, to_csv, to_json, write_quantity
from pixeldistill.cost.plan import dominates, plan
from pixeldistill.errors import DataError, RecipeError
from pixeldistill.recipe.budget import parse_limit
from pixeldistill.recipe.camera import Camera

ONE = Costs(
    "net", 56, "jpeg 50", params=3e6, macs=30e6, memory=9e5, pixels=56**2, bytes=1100, bitrate=None, kind="jpeg", quality=50
)  # fmt: skip


def behind(**camera):
    """Put the network behind another camera."""
    camera = Camera(**camera)
    return replace(ONE, camera=camera.words, kind=camera.kind, quality=camera.sent_quality)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bytes", "4kB", 4e3), ("bytes", "1.5 KiB", 1536), ("macs", "50M", 5e7), ("macs", "1e6", 1e6), ("latency", "5ms", 5e-3),
        ("latency", "80µs", 8e-5), ("bitrate", "100kbit/s", 1e5), ("bitrate", "1Mbps", 1e6), ("params", 3, 3),
    ],
)  # fmt: skip
def test_limits(name, text, value):
    assert parse_limit(name, text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("byts", "4kB", "did you mean bytes"), ("bytes", "4", "no unit"), ("bytes", "4m", "unknown unit 'm'"),
        ("latency", "5", "no unit"), ("macs", "many", "no quantity"), ("macs", "0", "more than nothing"),
        ("macs", "-3M", "no quantity"),
    ],
)  # fmt: skip
def test_limits_that_mean_nothing(name, text, reason):
    with pytest.raises(RecipeError, match=reason):
        parse_limit(name, text)


@pytest.mark.parametrize(("path", "write"), [("costs.csv", to_csv), ("costs.json", to_json)])
def test_costs_survive_a_file(tmp_path, path, write):
    costs = [ONE, replace(ONE, image_size=80, latency=0.002, p95=0.0031, threads=2, bytes=None)]
    (tmp_path / path).write_text(write(costs))
    assert read_costs(tmp_path / path) == costs


def test_costs_survive_a_spreadsheet(tmp_path):
    """Which begins its file with a mark of its encoding."""
    (tmp_path / "costs.csv").write_text(to_csv([ONE]), encoding="utf-8-sig")
    assert read_costs(tmp_path / "costs.csv") == [ONE]


def test_what_is_built_otherwise_is_not_compared():
    """A larger patch has more parameters for less, and is not the better for it."""
    fine = replace(ONE, network="vit_tiny_patch16_224", macs=8e6, params=5e6)
    coarse = replace(ONE, network="vit_tiny_patch32_224", macs=2e6, params=6e6)
    assert not dominates(coarse, fine, set()) and dominates(replace(coarse, network=fine.network), fine, set())
    assert not dominates(replace(coarse, network=fine.network, built="patch_size 32"), fine, set())
    assert replace(fine, built="patch_size 8").label == "vit_tiny_patch16_224 (patch_size 8) at 56, jpeg 50"


def test_a_file_without_costs(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "c.json").write_text('{"a": 1}')
    assert read_costs(tmp_path / "b.json") == []
    for name in ("a.csv", "c.json", "none.json"):
        with pytest.raises(DataError, match="holds no costs"):
            read_costs(tmp_path / name)


def test_a_plan_sorts_by_what_fits():
    larger = replace(ONE, image_size=80, bytes=1400, macs=60e6, memory=1.8e6, pixels=6400)
    huge = replace(ONE, image_size=224, bytes=9000, macs=400e6, memory=14e6, pixels=224**2)
    found = plan([ONE, larger, huge], {"bytes": 1300, "macs": 50e6}, near=0.25)
    assert found.fitting == (ONE,)
    ((near, excess),) = found.near
    assert near == larger
    assert (excess.axis, excess.share) == ("macs", pytest.approx(0.2)), "of two limits the one that is missed by more"
    assert "20% over" in str(excess)
    assert [cost for cost, _ in found.far] == [huge]


def test_what_is_dominated_is_told_with_what_dominates_it():
    worse = replace(ONE, network="net2", params=2e6, macs=40e6)
    other = replace(ONE, network="net3", params=5e6, macs=45e6)
    found = plan([worse, ONE, other], {"bytes": 2000})
    assert found.fitting == (ONE, other), "more computation buys more parameters: neither dominates"
    assert found.dominated == ((worse, ONE),)


def test_dominance():
    assert not dominates(ONE, ONE, set())
    assert dominates(ONE, replace(ONE, params=2e6), set())
    assert not dominates(ONE, replace(ONE, params=2e6), {"params"}), "then fewer parameters are a virtue"
    assert dominates(behind(codec="jpeg", quality=80), ONE, set()), "a better picture for the same bytes"
    assert not dominates(behind(codec="webp", quality=80), ONE, set()), "codecs cannot be told apart by their quality"
    assert not dominates(behind(codec="jpeg", quality=50, colour="grey"), ONE, set())
    assert not dominates(behind(codec="jpeg", quality=80, kernel="bicubic"), ONE, set()), "nor can two kernels"
    assert not dominates(behind(codec="jpeg", quality=80, noise=2), ONE, set())
    assert not dominates(replace(ONE, network="other18"), replace(ONE, params=2e6), set()), "nor two families by parameters"
    assert not dominates(replace(ONE, image_size=60, bytes=1200), ONE, set())


def test_cameras_whose_kind_is_not_said_are_not_compared():
    better, worse = (Costs("net", 56, f"jpeg {q}", params=1, macs=1, memory=1, pixels=1, bytes=q) for q in (85, 50))
    assert not dominates(better, worse, set()) and not dominates(worse, better, set())


def test_a_budget_that_nothing_meets_names_the_nearest():
    with pytest.raises(RecipeError, match=r"nearest is net at 56, jpeg 50: bytes 1\.1 kB, 10% over 1 kB"):
        plan([ONE, replace(ONE, image_size=80, bytes=2000)], {"bytes": 1000})


def test_a_limit_on_what_was_not_measured():
    with pytest.raises(RecipeError, match="was not measured: measure with --latency"):
        plan([ONE], {"latency": 0.1})


def test_quantities():
    assert write_quantity("bytes", 999) == "999 B"
    assert write_quantity("macs", None) == "–"
    assert write_quantity("bitrate", 43800) == "43.8 kbit/s"
    assert write_quantity("bytes", 999.7) == "1 kB"
    assert write_quantity("latency", 12.3456) == "12346 ms"
    assert write_quantity("macs", 5e15) == "5000 T"


def test_the_cache_remembers_and_survives_damage(tmp_path):
    calls = []

    def measure():
        calls.append(1)
        return [1, 2]

    for _ in range(2):
        assert remembered(tmp_path, {"a": (1,)}, measure) == [1, 2]
    assert len(calls) == 1
    (file,) = tmp_path.glob("*.json")
    file.write_text("{")
    assert remembered(tmp_path, {"a": (1,)}, measure) == [1, 2]
    file.write_text(json.dumps({"key": {"a": [2]}, "value": 7}))
    assert remembered(tmp_path, {"a": (1,)}, measure) == [1, 2], "another key under the same name"
    assert remembered(None, {"a": (1,)}, lambda: 3) == 3
    assert len(calls) == 3

"""The table of a comparison, against figures computed by hand."""

import pytest

from pixeldistill.report.comparison import COLUMNS, MethodScores, rows, to_sheet


def trained(method, test, cost=2.0):
    return MethodScores(method, 10, cost, {seed: 0.5 for seed in test}, test, test, single=method in ("pkd", "dkd", "at"))


def test_rows_by_hand():
    supervised, pkd = trained("supervised", {0: 0.50, 1: 0.52, 2: 0.54}), trained("pkd", {0: 0.56, 1: 0.58}, cost=3.0)
    table = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows(0.71, [supervised, pkd])}
    assert table["supervised"]["test"] == "52.0 ± 5.0", "s = 2 points, t(2) = 4.303, over the root of three"
    assert table["pkd"]["vs supervised"] == "+6.0 ± 0.0", "over the two seeds that both have"
    assert table["pkd"]["gap recovered"] == "30 %", "6 of the 20 points between 51 and 71"
    assert table["pkd"]["cost"] == "1.5"
    assert table["supervised"]["gap recovered"] == table["supervised"]["vs supervised"] == table["pkd"]["vs pkd"] == "–"


def test_chains_are_compared_with_the_best_single_loss():
    methods = [trained("pkd", {0: 0.6, 1: 0.6}), trained("dkd", {0: 0.64, 1: 0.66}), trained("tas", {0: 0.70, 1: 0.68})]
    table = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows(0.8, methods)}
    assert table["dkd"]["vs best loss"] == "–"
    assert table["tas"]["vs best loss"] == "+4.0 ± 25.4", "6 and 2 points; t(1) = 12.7"
    assert table["pkd"]["vs best loss"].startswith("-5.0")


@pytest.mark.parametrize(
    ("methods", "shown"),
    [
        ([trained("at", {0: 0.5})], ("–", "–", "–")),
        ([trained("supervised", {1: 0.5}), trained("at", {0: 0.5})], ("–", "–", "–")),
        ([trained("supervised", {0: 0.75}), trained("at", {0: 0.5})], ("-25.0", "–", "–")),
    ],
)
def test_what_cannot_be_compared_is_left_open(methods, shown):
    """No control, no common seed, a student that is better than its teacher."""
    row = rows(0.7, methods)[-1]
    assert (row[COLUMNS.index("vs supervised")], row[COLUMNS.index("vs pkd")], row[-1]) == shown
    assert "–" in to_sheet("a", 0.7, methods).markdown()

"""The table of a comparison, against figures computed by hand."""

import pytest

from pixeldistill.report.comparison import COLUMNS, Trained, rows, to_markdown


def trained(method, test, cost=2.0):
    return Trained(method, 10, cost, {seed: 0.5 for seed in test}, test, test)


def test_rows_by_hand():
    alone, pkd = trained("alone", {0: 0.50, 1: 0.52, 2: 0.54}), trained("pkd", {0: 0.56, 1: 0.58}, cost=3.0)
    table = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows(0.71, [alone, pkd])}
    assert table["alone"]["test"] == "52.0 ± 5.0", "s = 2 points, t(2) = 4.303, over the root of three"
    assert table["pkd"]["vs alone"] == "+6.0 ± 0.0", "over the two seeds that both have"
    assert table["pkd"]["gap recovered"] == "30 %", "6 of the 20 points between 51 and 71"
    assert table["pkd"]["cost"] == "1.5"
    assert table["alone"]["gap recovered"] == table["alone"]["vs alone"] == table["pkd"]["vs pkd"] == "–"


@pytest.mark.parametrize(
    ("methods", "shown"),
    [
        ([trained("at", {0: 0.5})], ("–", "–", "–")),
        ([trained("alone", {1: 0.5}), trained("at", {0: 0.5})], ("–", "–", "–")),
        ([trained("alone", {0: 0.75}), trained("at", {0: 0.5})], ("-25.0", "–", "–")),
    ],
)
def test_what_cannot_be_compared_is_left_open(methods, shown):
    """No control, no common seed, a student that is better than its teacher."""
    assert rows(0.7, methods)[-1][-3:] == shown
    assert "–" in to_markdown("a", 0.7, methods)

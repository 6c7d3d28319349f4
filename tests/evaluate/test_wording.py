"""How numbers are said."""

from __future__ import annotations

import pytest

from pegbox.evaluate import wording
from pegbox.metrics.intervals import Estimate


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (wording.percent(0.8412), "84.1%"),
        (wording.points(0.032), "3.2 points"),
        (wording.points(-0.01), "1.0 point"),
        (wording.signed(-0.032), "-3.2"),
        (wording.signed(0.0004), "0.0"),
        (wording.signed(-0.0004), "0.0"),
        (wording.percent_range(Estimate(0.5, 0.4, 0.6)), "40.0 to 60.0%"),
        (wording.signed_range(Estimate(0.5, -0.4, 0.6)), "-40.0 to +60.0"),
        (wording.p_value(None), "-"),
        (wording.p_value(0.0009), "<0.001"),
        (wording.p_value(0.0123), "0.012"),
        (wording.p_value(0.456), "0.46"),
        (wording.p_phrase(0.0001), "p < 0.001"),
        (wording.p_phrase(0.5), "p = 0.50"),
        (wording.listed(["a"]), "a"),
        (wording.listed(["a", "b", "c"]), "a, b and c"),
        (wording.counted(1, "row"), "1 row"),
        (wording.counted(4382, "row"), "4,382 rows"),
        (wording.milliseconds(None), "-"),
        (wording.milliseconds(0.0), "0.00 ms"),
        (wording.milliseconds(0.001), "<0.01 ms"),
        (wording.milliseconds(0.4), "0.40 ms"),
        (wording.milliseconds(12.34), "12.3 ms"),
        (wording.milliseconds(123.4), "123 ms"),
        (wording.duration(None), "-"),
        (wording.duration(4.2), "4.2 s"),
        (wording.duration(59.97), "1 min 0 s"),
        (wording.duration(185), "3 min 5 s"),
        (wording.duration(7440), "2 h 4 min"),
        (wording.size(None), "-"),
        (wording.size(512), "512 B"),
        (wording.size(36_900), "36.9 kB"),
        (wording.size(1_200_000_000), "1.2 GB"),
        (wording.size(999_700), "1.0 MB"),
        (wording.amount(None), "-"),
        (wording.amount(20), "20"),
        (wording.amount(20.5), "20.5"),
        (wording.amount(9216), "9.2k"),
        (wording.amount(1_234_567), "1.2M"),
        (wording.amount(2e12), "2000G"),
        (wording.visible("a\n\tb\x1b[31m\ud800\u202ec"), "a b\ufffd[31m\ufffd\ufffdc"),
        (wording.visible("  two  spaces"), "  two  spaces"),
        (wording.shortened("abcdefghij", 6), "abcd […] ij"),
        (wording.shortened("abc", 3), "abc"),
    ],
)
def test_numbers_are_said_one_way(said: str, expected: str) -> None:
    assert said == expected

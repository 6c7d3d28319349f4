import pytest

from pegbox.data.tags import check_scheme, mark_of, scheme_of, to_bio, unknown
from pegbox.errors import SettingsError

BIO = ["B-PER", "I-PER", "B-PER", "O", "B-LOC"]
"""Two people side by side, and a place."""
IOB1 = ["I-PER", "I-PER", "B-PER", "O", "I-LOC"]
BIOES = ["B-PER", "E-PER", "S-PER", "O", "S-LOC"]
BILOU = ["B-PER", "L-PER", "U-PER", "O", "U-LOC"]


@pytest.mark.parametrize(("tags", "scheme"), [(BIO, "bio"), (IOB1, "iob1"), (BIOES, "bioes"), (BILOU, "bioes")])
def test_every_scheme_is_found_out_and_read_as_bio(tags: list[str], scheme: str) -> None:
    assert scheme_of([["O"], tags]) == scheme
    assert to_bio(tags, scheme) == (BIO, None)  # type: ignore[arg-type]


def test_types_may_hold_dashes() -> None:
    assert mark_of("B-geo-loc") == ("B", "geo-loc")
    assert to_bio(["B-geo-loc", "I-geo-loc"], "bio")[0] == ["B-geo-loc", "I-geo-loc"]


@pytest.mark.parametrize("tag", ["PER", "X-PER", "B-", "B_PER", "o", "-PER"])
def test_a_tag_of_no_scheme_is_named(tag: str) -> None:
    fault = unknown(["O", tag])
    assert fault is not None
    assert (fault.kind, fault.at, fault.detail) == ("scheme", 1, repr(tag))


@pytest.mark.parametrize(
    ("tags", "scheme", "at"),
    [
        (["O", "I-PER"], "bio", 1),
        (["B-PER", "I-LOC"], "bio", 1),
        (["B-PER", "E-PER"], "bio", 1),
        (["O", "B-PER"], "iob1", 1),
        (["S-PER", "E-PER"], "iob1", 0),
        (["O", "I-PER"], "bioes", 1),
        (["B-PER", "O"], "bioes", 1),
        (["B-PER", "B-PER"], "bioes", 1),
        (["S-PER", "E-PER"], "bioes", 1),
        (["O", "B-PER"], "bioes", 1),
        (["B-PER", "E-LOC"], "bioes", 1),
    ],
)
def test_a_tag_in_the_wrong_place_is_named(tags: list[str], scheme: str, at: int) -> None:
    found, fault = to_bio(tags, scheme)  # type: ignore[arg-type]
    assert fault is not None
    assert (found, fault.kind, fault.at) == ([], "order", at)
    assert repr(tags[at]) in fault.detail


def test_one_stray_tag_does_not_make_bio_into_iob1() -> None:
    assert scheme_of([["B-PER", "O"], ["O", "I-PER"]]) == "bio"
    assert scheme_of([["I-PER", "O"], ["O", "I-PER", "I-LOC"]]) == "iob1"


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(SettingsError, match="one of auto, bio, iob1, bioes"):
        check_scheme("iob3")

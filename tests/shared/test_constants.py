import dataclasses

import pytest

from models.lite.layout import DIMENSIONS, LAYOUT
from shared.constants import PROTOCOL, CallTerms, Schedule
from shared.errors import PeerError, RequestError

TERMS = CallTerms("lite", "abc123", LAYOUT.keypoints, DIMENSIONS)


def test_six_of_twelve_frames_ship() -> None:
    shipped = [n for n in range(24) if Schedule().ships(n)]
    assert shipped == [0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17]
    assert Schedule().duty == 0.5


def test_a_schedule_without_skipping_ships_all() -> None:
    assert all(Schedule(1, 0).ships(n) for n in range(10))


def test_schedule_text_goes_there_and_back() -> None:
    assert Schedule.parse("3-9") == Schedule(3, 9)
    assert str(Schedule(3, 9)) == "3-9"


@pytest.mark.parametrize(
    "text", ["", "6", "6-", "-6", "6-6-6", "0-6", "a-b", "6/6", "301-0", "9999-1", "²-6", "6-−1"]
)
def test_other_text_is_no_schedule(text: str) -> None:
    with pytest.raises(RequestError, match="schedule"):
        Schedule.parse(text)


def test_terms_go_there_and_back() -> None:
    terms = CallTerms(
        "fomm", "ff", LAYOUT.keypoints, DIMENSIONS, codec="coded", tables="00", observe=3, skip=9
    )
    assert CallTerms.from_map(terms.to_map()) == terms
    assert terms.schedule == Schedule(3, 9)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backbone", 7),
        ("backbone", b"lite"),
        ("backbone", "x" * 65),
        ("backbone", "\x1b[2J"),
        ("fingerprint", "ä"),
        ("observe", 0),
        ("observe", True),
        ("observe", 1.0),
        ("skip", -1),
        ("skip", 301),
        ("keypoints", 0),
        ("fps", 10**9),
        ("protocol", "1"),
        ("protocol", None),
        ("tables", None),
    ],
)
def test_a_bad_field_is_refused(field: str, value: object) -> None:
    with pytest.raises(PeerError):
        CallTerms.from_map(TERMS.to_map() | {field: value})


def test_missing_fields_are_refused_and_unknown_ones_left_out() -> None:
    whole: dict[object, object] = dict(TERMS.to_map())
    assert CallTerms.from_map(whole | {"more": 1}) == TERMS
    for name in whole:
        with pytest.raises(PeerError):
            CallTerms.from_map({key: value for key, value in whole.items() if key != name})


def test_terms_stand_in_the_hello_as_they_always_did() -> None:
    names = "backbone fingerprint codec tables policy observe skip keypoints fps protocol"
    assert list(TERMS.to_map()) == names.split()


def test_six_numbers_a_keypoint_are_not_told_and_others_are() -> None:
    assert "dimensions" not in TERMS.to_map()
    plate = dataclasses.replace(TERMS, keypoints=50, dimensions=100)
    assert plate.to_map()["dimensions"] == 100
    assert CallTerms.from_map(plate.to_map()) == plate
    for wrong in (0, 10**6, "100", True, None):
        with pytest.raises(PeerError, match="dimensions"):
            CallTerms.from_map(plate.to_map() | {"dimensions": wrong})


def test_other_numbers_of_a_keypoint_are_a_difference() -> None:
    sentence = TERMS.difference(dataclasses.replace(TERMS, dimensions=20))
    assert sentence is not None
    assert "The receiver has keypoint numbers 60, the sender has 20;" in sentence


def test_pictures_of_256_pixels_are_not_told_of_and_others_are() -> None:
    assert "size" not in TERMS.to_map()
    large = dataclasses.replace(TERMS, size=512)
    assert CallTerms.from_map(large.to_map()) == large
    assert "picture size 256, the sender has 512;" in (TERMS.difference(large) or "")
    for wrong in (0, 10**6, "512", None):
        with pytest.raises(PeerError, match="size"):
            CallTerms.from_map(large.to_map() | {"size": wrong})


def test_another_protocol_is_named_even_when_its_fields_differ() -> None:
    with pytest.raises(PeerError, match=f"protocol {PROTOCOL}.* protocol 9;"):
        CallTerms.from_map({"protocol": 9, "new": "field"})


@pytest.mark.parametrize(
    ("field", "value"),
    [("backbone", "fomm"), ("fingerprint", "def456"), ("codec", "coded"), ("tables", "77"), ("fps", 25)],
)
def test_a_difference_names_both_values(field: str, value: object) -> None:
    other = dataclasses.replace(TERMS, **{field: value})
    sentence = TERMS.difference(other)
    assert sentence is not None
    assert f"the sender has {value};" in sentence
    assert sentence.startswith("The receiver has ")
    assert (str(getattr(TERMS, field)) or "none") in sentence


def test_the_schedule_may_differ() -> None:
    assert TERMS.difference(dataclasses.replace(TERMS, observe=1, skip=11)) is None

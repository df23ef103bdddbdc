"""How words are cut, and that what was cut is found again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from northbound.logic.search import (
    QUERY_WORDS,
    TEXT_LENGTH,
    event_id_in,
    exact,
    is_said,
    phrases,
    tokens,
    words_of,
)
from northbound.model.event import Event, EventType, Facts, File

CHINESE = st.text(alphabet="会议室周产品", max_size=8)
ANYTHING = st.text(max_size=40)


@given(text=CHINESE, asked=CHINESE.filter(bool))
def test_a_chinese_run_is_found_exactly_where_it_stands(text: str, asked: str) -> None:
    """Neither too much nor too little: as if the text itself were searched."""
    assert is_said(tokens(text), phrases(asked)) == (asked in text)


@given(before=ANYTHING, word=ANYTHING, after=ANYTHING)
def test_a_value_is_found_by_any_word_of_it(before: str, word: str, after: str) -> None:
    """What a person reads in a list can be typed into the search."""
    said = tokens(f"{before} {word} {after}")

    assert is_said(said, phrases(word))


@given(value=st.text(max_size=80))
def test_a_narrowing_phrase_is_in_every_text_that_holds_its_value(value: str) -> None:
    """Otherwise a search for a room and a word would lose events."""
    said = tokens(value)

    assert not exact(value).tokens or is_said(said, [exact(value)])


@given(text=st.text())
def test_tokens_hold_no_separator(text: str) -> None:
    """A storage may write them down with spaces between, and quote them."""
    for token in tokens(text):
        assert token
        assert not set(token) & set(" \t\n\"'*^:()-+\x00")
        assert tokens(token)[-1:] in ([token], [token[-1]])


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("会议室", ["会", "会议", "议", "议室", "室"]),
        ("Room-42_a", ["room", "42", "a"]),
        ("第3次会", ["第", "3", "次", "次会", "会"]),
        ("ＡＢＣ ガ José ﬁ", ["abc", "ガ", "jose", "fi"]),
        ("한국", ["한", "한국", "국"]),
        ("😀 ... \x00", []),
        ("a" * 100, ["a" * 64]),
    ],
)
def test_text_is_cut(text: str, cut: list[str]) -> None:
    assert tokens(text) == cut


def test_a_query_is_bounded() -> None:
    """However much is typed."""
    assert len(phrases("a " * 10_000)) == QUERY_WORDS
    assert sum(len(phrase.tokens) for phrase in phrases("会" * 10_000)) < 1_000


def test_an_event_of_any_size_gives_a_bounded_text() -> None:
    """Names and ids come first, so what is cut off is the end of the vendor's words."""
    files = tuple(File(name=f"file{n} " + "x" * 3_000) for n in range(50))
    event = Event(
        type=EventType.RECORDING_UPLOADED, dialect="x", room_id="room1", facts=Facts(name="Anna", files=files)
    )

    words = words_of(event)

    assert words[:2] == ["room1", "anna"]
    assert sum(map(len, words)) <= TEXT_LENGTH


def test_a_value_said_twice_is_kept_once() -> None:
    words = msgspec.Raw(b'{"room":"r9","also":["r9",{"x":"r9"}]}')
    event = Event(type=EventType.ROOM_OPENED, dialect="x", room_id="r9", vendor=words)

    assert words_of(event) == ["r9"]


@pytest.mark.parametrize(
    ("text", "found"),
    [("ev_ab12_000000000001", "ev_ab12_000000000001"), (" ev_a_1.2 ", "ev_a_1.2"), ("ev_a b", None), ("event", None)],
)
def test_an_event_id_is_recognised(text: str, found: str | None) -> None:
    assert event_id_in(text) == found

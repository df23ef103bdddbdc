"""Decide which words of an event can be searched for, and how text is cut so that Chinese is found too.

Chinese, Japanese and Korean are written without spaces, so a run of them is cut into every character and every pair of
neighbours, one after the other: 会议室 becomes 会 会议 议 议室 室. A searched run is then a phrase of that sequence,
found wherever it stands, from a single character on. Everything else is cut into runs of letters and digits.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from northbound.model.event import Event
from northbound.model.history import HistoryHit, Summary
from northbound.model.log import Logged, room_key

VALUE_LENGTH = 1_000  # characters of one value that are searchable
TEXT_LENGTH = 8_000  # of one event, all values together; names and ids come first
WORD_LENGTH = 64  # what is longer is a blob; its beginning is enough to find it by
QUERY_LENGTH = 300
QUERY_WORDS = 16
PREFIX_LENGTH = 3  # shorter beginnings stand for half the index, so short words are found whole only

_UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])[^\W_])+")
_ASCII_RUN = re.compile(r"[a-z0-9]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
_ACCENTS = re.compile("[\u0300-\u036f]")
_EVENT_ID = re.compile(r"\s*(ev_[A-Za-z0-9_.]+)\s*")


class Phrase(msgspec.Struct, frozen=True):
    """Tokens that must follow one another; with `prefix` the last one need only begin so."""

    tokens: tuple[str, ...]
    prefix: bool = False


def hit_of(logged: Logged) -> HistoryHit:
    """Return the entry as a list shows it."""
    event = logged.event
    return HistoryHit(
        offset=logged.offset,
        event_id=logged.id,
        type=event.type.value,
        dialect=event.dialect,
        origin=logged.origin,
        source_id=logged.source_id,
        room_key=room_key(logged.source_id, event),
        recorded_at=logged.recorded_at,
        room_id=event.room_id,
        participant_id=event.participant_id,
        occurred_at=event.occurred_at,
        summary=_summary(event),
    )


def words_of(event: Event) -> list[str]:
    """Return the tokens of all that is searchable in *event*, each value once."""
    found: list[str] = []
    known: set[str] = set()
    room = TEXT_LENGTH
    for value in _values(event):
        if value in known:
            continue
        known.add(value)
        taken = value[: min(VALUE_LENGTH, room)]
        found.extend(tokens(taken))
        room -= len(taken)
        if room <= 0:
            break
    return found


def tokens(text: str) -> list[str]:
    """Cut *text*, in small letters and without accents, in the order it is written."""
    if text.isascii():
        return [word[:WORD_LENGTH] for word in _ASCII_RUN.findall(text.lower())]
    found: list[str] = []
    for run in _RUN.findall(_plain(text)):
        if _IS_UNSPACED.match(run):
            found.extend(_grams(run))
        else:
            found.append(run[:WORD_LENGTH])
    return found


def phrases(text: str) -> list[Phrase]:
    """Read what a person typed: each word a phrase, all of them wanted; hostile input is only more words."""
    words = text[:QUERY_LENGTH].split()[:QUERY_WORDS]
    return [phrase for phrase in map(_phrase, words) if phrase.tokens]


def exact(value: str) -> Phrase:
    """Return the phrase that every text holding *value* holds."""
    return Phrase(tuple(tokens(value[:VALUE_LENGTH])))


def is_said(words: Sequence[str], wanted: Iterable[Phrase]) -> bool:
    """Tell whether *words* hold every wanted phrase."""
    return all(any(_is_at(words, start, phrase) for start in range(len(words))) for phrase in wanted)


def event_id_in(text: str) -> str | None:
    """Return the event id that *text* is, or None."""
    match = _EVENT_ID.fullmatch(text)
    return match[1] if match else None


# --- cutting ---------------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Fold width, case and Latin accents; kana and Hangul are put together again as they were."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFC", _ACCENTS.sub("", folded))


def _grams(run: str) -> Iterator[str]:
    for first, second in pairwise(run):
        yield first
        yield first + second
    yield run[-1]


def _phrase(word: str) -> Phrase:
    """Cut a searched word like the text; single characters at its ends say nothing that their pairs do not."""
    cut = tokens(word)
    if not cut:
        return Phrase(())
    last = cut[-1]
    ends_unspaced = _IS_UNSPACED.match(last) is not None
    start = int(len(cut) > 1 and _is_pair(cut[1]))
    stop = len(cut) - int(len(cut) > 1 and ends_unspaced and _is_pair(cut[-2]))
    return Phrase(tuple(cut[start:stop]), prefix=not ends_unspaced and len(last) >= PREFIX_LENGTH)


def _is_pair(token: str) -> bool:
    return len(token) == 2 and _IS_UNSPACED.match(token) is not None


def _is_at(words: Sequence[str], start: int, phrase: Phrase) -> bool:
    size = len(phrase.tokens)
    found = tuple(words[start : start + size])
    if not phrase.prefix or len(found) < size:
        return found == phrase.tokens
    return found[:-1] == phrase.tokens[:-1] and found[-1].startswith(phrase.tokens[-1])


# --- reading an event ------------------------------------------------------------------------------------------------


def _values(event: Event) -> Iterator[str]:
    facts = event.facts
    known = (
        event.room_id,
        event.participant_id,
        facts.room_name,
        facts.name,
        event.track_id,
        event.recording_id,
        event.session_id,
        event.room_session_id,
        event.dedupe_key,
        event.scope,
        facts.peer_id,
        facts.group_id,
        facts.recorder_id,
        facts.new_recorder_id,
        facts.server_id,
        facts.connection_id,
        facts.operation,
        facts.status,
    )
    yield from (value for value in known if value)
    if facts.fault is not None:
        fault = facts.fault
        code = None if fault.code is None else str(fault.code)
        yield from (value for value in (fault.name, fault.message, fault.module, code) if value)
    for file in facts.files:
        yield from (value for value in (file.name, file.url, file.participant_id) if value)
    yield from _strings(event.vendor)


def _strings(vendor: msgspec.Raw) -> Iterator[str]:
    """Yield every string value of the vendor's words; words that cannot be read hold none, and stop nothing."""
    try:
        content = msgspec.json.decode(vendor)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return
    stack: list[Any] = [content]
    while stack:
        match stack.pop():
            case str(text) if text:
                yield text
            case dict(members):
                stack.extend(reversed(members.values()))
            case list(items):
                stack.extend(reversed(items))
            case _:
                continue


def _summary(event: Event) -> Summary:
    facts = event.facts
    fault = facts.fault
    said = fault and (fault.name or fault.message or (None if fault.code is None else str(fault.code)))
    return Summary(
        room_name=_cut(facts.room_name),
        name=_cut(facts.name),
        role=facts.role and facts.role.value,
        terminal=facts.terminal and facts.terminal.value,
        reason=facts.reason and facts.reason.value,
        operation=_cut(facts.operation),
        media=tuple(one.value for one in facts.media),
        peer_id=facts.peer_id,
        track_id=event.track_id,
        recording_id=event.recording_id,
        status=_cut(facts.status),
        progress=facts.progress,
        fault=_cut(said or None),
        files=len(facts.files),
        server_id=facts.server_id,
    )


def _cut(text: str | None) -> str | None:
    return text if text is None else text[:200]

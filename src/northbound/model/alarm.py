"""What somebody must hear of: a kind, whom it concerns, since when, how often, and a sentence made from its facts."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

WINDOW: Final = timedelta(hours=1)  # the same kind of the same object within it is one alarm with a count
ROWS_A_WINDOW: Final = 20  # alarms of one kind and source (or endpoint) begun in a window; more are told as one
KEPT: Final = 200  # alarms of one kind and source (or endpoint) that a storage keeps; the oldest make room
FACT_LENGTH: Final = 200  # characters of one fact: a sender chooses some of them


class AlarmKind(StrEnum):
    """What happened."""

    ENDPOINT_STOPPED = "endpoint_stopped"
    ENDPOINT_RECOVERED = "endpoint_recovered"
    POISON_HEAD = "poison_head"
    DEAD_LETTERS = "dead_letters"
    TWO_BODIES = "two_bodies"  # I3
    UNKNOWN_EVENT = "unknown_event"  # I15
    UNKNOWN_FIELD = "unknown_field"  # I15
    CHANGED_TYPE = "changed_type"  # I15
    ID_CONFLICT = "id_conflict"  # I17
    NOT_DECODABLE = "not_decodable"
    OVER_BUDGET = "over_budget"  # ruling 5
    CERTIFICATE_EXPIRES = "certificate_expires"  # ruling 6
    NOT_FOLDED = "not_folded"


CONDITIONS: Final = frozenset(
    {AlarmKind.ENDPOINT_STOPPED, AlarmKind.CERTIFICATE_EXPIRES}
)  # last until they are said to be over, however long


class Alarm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alarm: `count` times between `first_at` and `last_at`, about the app and what else is named.

    `what` tells alarms of one kind and object apart, say the field that is new. `facts` fill the sentences; they are
    plain text, cut to `FACT_LENGTH`, and never hold a secret. `is_over`: said to be over (see `over_at`).
    """

    kind: AlarmKind
    first_at: datetime
    last_at: datetime
    id: str = ""
    app_id: str | None = None
    source_id: str | None = None
    endpoint_id: str | None = None
    room_id: str | None = None
    what: str | None = None
    facts: dict[str, str] = {}
    count: int = 1
    is_over: bool = False

    @property
    def key(self) -> tuple[str, str | None, str | None, str | None, str | None, str | None]:
        """What two raisings must share to be one alarm."""
        return (self.kind.value, self.app_id, self.source_id, self.endpoint_id, self.room_id, self.what)

    @property
    def en(self) -> str:
        """The alarm as an English sentence."""
        return self._said(0)

    @property
    def zh(self) -> str:
        """The alarm as a Chinese sentence."""
        return self._said(1)

    def over_at(self, now: datetime) -> bool:
        """Tell whether it is over: said so, or quiet for a window where quiet says as much."""
        return self.is_over or (self.kind not in CONDITIONS and now - self.last_at >= WINDOW)

    def merged(self, later: "Alarm") -> "Alarm":
        """Return this alarm after it was raised again."""
        return msgspec.structs.replace(
            self,
            last_at=max(self.last_at, later.last_at),
            count=self.count + later.count,
            facts=later.facts or self.facts,
            is_over=later.is_over,
        )

    def blurred(self) -> "Alarm":
        """Return the alarm of the source or endpoint as a whole, for when there are too many to tell apart."""
        return msgspec.structs.replace(self, room_id=None, what=None)

    def _said(self, language: int) -> str:
        known = {
            "source": self.source_id,
            "endpoint": self.endpoint_id,
            "room": self.room_id,
            "what": self.what,
        }
        words = {name: value for name, value in known.items() if value is not None} | self.facts
        return _SENTENCES[self.kind][language].format_map(_Words(_MISSING[language], words))


AlarmPlace = tuple[int, int, int]  # begin in Unix microseconds, rank of the database, row


class AlarmFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which alarms; None asks for no such limit. `since`: those raised (again) at that time or later."""

    app_id: str | None = None
    source_id: str | None = None
    endpoint_id: str | None = None
    kind: AlarmKind | None = None
    since: datetime | None = None


def plain(text: str) -> str:
    """Return *text* as a fact: one line, printable, not too long."""
    cut = text if len(text) <= FACT_LENGTH else f"{text[: FACT_LENGTH - 1]}…"
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in cut)


class _Words(dict[str, str]):
    """Facts by name; what is not known is said in a word."""

    def __init__(self, missing: str, words: Mapping[str, str]) -> None:
        super().__init__(words)
        self._missing = missing

    def __missing__(self, key: str) -> str:
        return self._missing


_MISSING: Final = ("(several)", "（多个）")
_SENTENCES: Final[dict[AlarmKind, tuple[str, str]]] = {
    AlarmKind.ENDPOINT_STOPPED: (
        "Endpoint {endpoint} is stopped: {reason}.",
        "端点 {endpoint} 已停止：{reason}。",
    ),
    AlarmKind.ENDPOINT_RECOVERED: (
        "Endpoint {endpoint} accepts deliveries again; what waited is sent in room order.",
        "端点 {endpoint} 已恢复，等待中的投递按房间顺序继续发送。",
    ),
    AlarmKind.POISON_HEAD: (
        "Room {room} waits at endpoint {endpoint}: delivery {what} failed {attempts} times, the last time: {reason}.",
        "房间 {room} 在端点 {endpoint} 受阻：投递 {what} 已失败 {attempts} 次，最近原因：{reason}。",
    ),
    AlarmKind.DEAD_LETTERS: (
        "Endpoint {endpoint}: deliveries became dead letters, the last one because: {reason}.",
        "端点 {endpoint}：有投递成为死信，最近原因：{reason}。",
    ),
    AlarmKind.TWO_BODIES: (
        "Source {source}: two different bodies came under the same signed headers ({what}).",
        "来源 {source}：同一组签名请求头带来了两个不同的请求体（{what}）。",
    ),
    AlarmKind.UNKNOWN_EVENT: (
        "Source {source} sent a kind of event that is not known: {what}.",
        "来源 {source} 发来未知事件：{what}。",
    ),
    AlarmKind.UNKNOWN_FIELD: (
        "Source {source} sent a field that is not known: {what}.",
        "来源 {source} 发来未知字段：{what}。",
    ),
    AlarmKind.CHANGED_TYPE: (
        "Source {source} sent a field as another type than before: {what}.",
        "来源 {source} 的字段类型有变：{what}。",
    ),
    AlarmKind.ID_CONFLICT: (
        "Source {source} sent another event under an id that is known ({what}); the first is kept.",
        "来源 {source} 以已知标识（{what}）发来另一事件，保留先到的。",
    ),
    AlarmKind.NOT_DECODABLE: (
        "Source {source} sent a callback that passed its checks and cannot be read: {reason}. It is in quarantine.",
        "来源 {source} 发来已通过校验但无法解析的回调：{reason}。已放入隔离区。",
    ),
    AlarmKind.OVER_BUDGET: (
        "Source {source}: a callback was not stored within {budget}; the state of its rooms may be behind.",
        "来源 {source}：回调未能在 {budget} 内落盘，其房间状态可能落后。",
    ),
    AlarmKind.CERTIFICATE_EXPIRES: (
        "The certificate {certificate} that signs our callbacks expires at {expires}: rotate it.",
        "为回调签名的证书 {certificate} 将于 {expires} 过期，请更换证书。",
    ),
    AlarmKind.NOT_FOLDED: (
        "Event {what} of source {source} was set aside, since our code failed on it ({part}: {reason}); others go on.",
        "来源 {source} 的事件 {what} 因本程序出错已搁置（{part}：{reason}），其余事件照常。",
    ),
}

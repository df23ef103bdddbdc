"""Hold every dialect to the same laws by whole-request vectors: data, no code for a vendor.

A file is `vectors/<dialect>/<name>.json`: {"dialect", "notes": {flag: what it means}, "cases": [...]}. A case with
`request` is read (and sent again); a case with `event` is a foreign event said in this wire. Laws: (1) verify and
decode give the named proof, events or error; (2) ack is as written and our judge accepts our good ack; (3) view,
encode, sign, then verify passes; (4) decode of what we would send equals the events; (5) what we would send is
wire-true to what came; (6) a flag without a note fails; (7) said from its facts alone, the event keeps its kind.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from northbound.dialects import all_dialects
from northbound.dialects.base import Dialect
from northbound.model.app import App, Endpoint
from northbound.model.delivery import Fill, View
from northbound.model.errors import DecodeError, HubError, SignatureError
from northbound.model.event import Event
from northbound.model.wire import Headers, Key, KeyKind, Needs, Proof, Request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENTROPY = bytes(range(32))
ORIGINS = frozenset({"documented", "captured", "derived"})


class WireRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request as a vector writes it: `body` as text, `json` as an object (written compactly), or `body_base64`."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: str | None = None
    json: msgspec.Raw = msgspec.Raw(b"")
    body_base64: str | None = None

    def bytes(self) -> bytes:
        """Return the body's exact bytes."""
        if self.body_base64 is not None:
            return b64decode(self.body_base64)
        if bytes(self.json):
            return msgspec.json.format(bytes(self.json), indent=-1)
        return (self.body or "").encode()

    def request(self) -> Request:
        """Return the request."""
        headers: Headers = tuple(self.headers.items())
        return Request(method=self.method, url=self.url, headers=headers, body=self.bytes())


class WireKey(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A test key; `secret` is text (a PEM for rsa and certificate)."""

    secret: str
    kind: KeyKind = KeyKind.SHARED
    url: str | None = None

    def key(self) -> Key:
        """Return the key."""
        return Key(kind=self.kind, secret=self.secret.encode(), url=self.url)


class Ack(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The expected answer: status, and the body as JSON or text where it matters."""

    status: int
    json: msgspec.Raw = msgspec.Raw(b"")
    text: str | None = None


class Case(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One vector; see the module's first lines."""

    name: str
    flags: list[str]
    secret: str | None = None
    keys: list[WireKey] = []
    send_keys: list[WireKey] = []  # signing keys where they differ from verifying ones (certificates)
    options: dict[str, Any] = {}
    now: datetime = NOW
    request: WireRequest | None = None
    result: str = "valid"  # valid | invalid
    error: str | None = None  # signature | malformed
    proof: Proof = Proof.NONE
    events: list[dict[str, Any]] | None = None
    ack: Ack | None = None
    resend: bool = True  # False: read only (a form that is accepted and never sent); law 3-5 are skipped
    event: dict[str, Any] | None = None
    fill: dict[str, Any] = {}
    url: str = "http://sink.test/callback"
    method: str = "POST"
    sends: list[WireRequest] = []
    lost: list[str] = []
    invented: list[str] = []


class VectorFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One file of vectors of one dialect."""

    dialect: str
    notes: dict[str, str]
    cases: list[Case]
    schema: str = msgspec.field(default="", name="$schema")


class Outcome(msgspec.Struct, kw_only=True):
    """What running one case showed: failed laws in words, and the wire kinds proven in each direction."""

    dialect: str
    file: str
    case: str
    failures: list[str]
    read: set[str]
    sent: set[str]


def vector_folder() -> Path:
    """Return the folder of the vectors shipped in the package."""
    return Path(str(files("northbound"))) / "vectors"


def load(folder: Path | None = None) -> Iterator[tuple[str, VectorFile]]:
    """Yield (file name, content) of every vector file under *folder*, in order."""
    root = folder or vector_folder()
    for path in sorted(root.glob("*/*.json")):
        try:
            yield f"{path.parent.name}/{path.name}", msgspec.json.decode(path.read_bytes(), type=VectorFile)
        except msgspec.MsgspecError as error:
            raise SystemExit(f"{path.name}: not a vector file: {error}") from None


def run_file(name: str, file: VectorFile) -> list[Outcome]:
    """Run every case of one file."""
    dialect = all_dialects()[file.dialect]
    outcomes: list[Outcome] = []
    for case in file.cases:
        outcome = Outcome(dialect=file.dialect, file=name, case=case.name, failures=[], read=set(), sent=set())
        unexplained = [flag for flag in case.flags if flag not in file.notes]
        if unexplained or not ORIGINS.intersection(case.flags):
            outcome.failures.append(f"law 6: flags {case.flags} need notes and one of {sorted(ORIGINS)}")
        try:
            run_case(dialect, case, outcome)
        except Exception as error:  # noqa: BLE001 - a vector must never crash the run; what it raised is the failure
            outcome.failures.append(f"raised {type(error).__name__}: {error}")
        outcomes.append(outcome)
    return outcomes


def run_case(dialect: Dialect, case: Case, outcome: Outcome) -> None:
    """Run one case, adding what fails to *outcome*."""
    if case.event is not None:
        _say_foreign(dialect, case, outcome)
    elif case.request is not None:
        _read_and_resend(dialect, case, case.request.request(), outcome)


def coverage(outcomes: list[Outcome]) -> dict[str, tuple[list[tuple[int, int]], list[tuple[int, int]]]]:
    """Count proven kinds: dialect -> ([(in, of) per group of kinds], [(out, of) ...])."""
    table: dict[str, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {}
    for name, dialect in sorted(all_dialects().items()):
        good = [outcome for outcome in outcomes if outcome.dialect == name and not outcome.failures]
        read = set().union(*[outcome.read for outcome in good]) if good else set()
        sent = set().union(*[outcome.sent for outcome in good]) if good else set()
        table[name] = (
            [(len(read.intersection(group)), len(group)) for group in dialect.kinds],
            [(len(sent.intersection(group)), len(group)) for group in dialect.kinds],
        )
    return table


# --- the laws --------------------------------------------------------------------------------------------------------


def _read_and_resend(dialect: Dialect, case: Case, request: Request, outcome: Outcome) -> None:
    fail = outcome.failures.append
    keys = _keys(case.secret, case.keys)
    try:
        proof = dialect.verify(request, keys, case.now, case.options)
        events = dialect.decode(request, case.options)
    except (SignatureError, DecodeError) as error:
        _refused(dialect, case, request, error, outcome)
        return
    if case.result != "valid":
        fail(f"law 1: expected error {case.error}, was accepted")
        return
    if proof != case.proof:
        fail(f"law 1: proof {case.proof} expected, got {proof}")
    if case.events is not None:
        _compare_events(case.events, events, "law 1", outcome)
    answer = dialect.ack(request, None)
    _compare_ack(case.ack, answer.status, answer.body, outcome)
    verdict = dialect.judge(request, answer)
    if not verdict.accepted:
        fail(f"law 2: our judge refuses our own ack: {verdict.reason}")
    outcome.read.update(dialect.kind(event.vendor) for event in events)
    if case.resend and events:
        _resend(dialect, case, events, outcome)


def _refused(dialect: Dialect, case: Case, request: Request, error: HubError, outcome: Outcome) -> None:
    if case.result == "valid":
        outcome.failures.append(f"law 1: refused with {error.code}: {error.message}")
    elif case.error != error.code:
        outcome.failures.append(f"law 1: error {case.error} expected, got {error.code}: {error.message}")
    else:
        answer = dialect.ack(request, error)
        _compare_ack(case.ack, answer.status, answer.body, outcome)


def _resend(dialect: Dialect, case: Case, events: list[Event], outcome: Outcome) -> None:
    endpoint = _endpoint(dialect, case)
    options = case.options
    views = [view for event in events for view in dialect.view(event, _fill(case), options)]
    size = max(1, dialect.batch_max)
    again: list[Event] = []
    for start in range(0, len(views), size):
        request = dialect.encode(views[start : start + size], endpoint)
        request = dialect.sign(request, endpoint, case.now, ENTROPY)
        proof = dialect.verify(request, _keys(case.secret, case.keys), case.now, options)
        if isinstance(proof, Needs) or proof != case.proof:
            outcome.failures.append(f"law 3: what we sign verifies as {proof}, not {case.proof}")
        again.extend(dialect.decode(request, options))
    _compare_events([_plain(event) for event in events], again, "law 4", outcome)
    for before, after in zip(events, again, strict=False):
        if wire_text(before.vendor) != wire_text(after.vendor):
            outcome.failures.append(f"law 5: not wire-true: {bytes(before.vendor)!r} became {bytes(after.vendor)!r}")
    if not outcome.failures:
        _keep_kind(dialect, case, events, outcome)


def _keep_kind(dialect: Dialect, case: Case, events: list[Event], outcome: Outcome) -> None:
    """Law 7: from its facts alone, as if another vendor had said it, an event becomes the same kind again."""
    for event in events:
        kind = dialect.kind(event.vendor)
        if not any(kind in group for group in dialect.kinds):
            continue
        foreign = msgspec.structs.replace(event, dialect="elsewhere", vendor=msgspec.Raw(b"{}"), unmapped=())
        said = [dialect.kind(view.words) for view in dialect.view(foreign, _fill(case), case.options)]
        if kind in said:
            outcome.sent.add(kind)
        else:
            outcome.failures.append(f"law 7: {kind} said from its facts alone becomes {said or 'nothing'}")


def _say_foreign(dialect: Dialect, case: Case, outcome: Outcome) -> None:
    endpoint = _endpoint(dialect, case)
    event = msgspec.convert(_with_raw(case.event or {}), Event, strict=False)
    views = dialect.view(event, _fill(case), case.options)
    reason = None if views else dialect.unsaid(event, _fill(case))
    lost = {name for view in views for name in view.lost} if reason is None else {reason}
    if sorted(case.lost) != sorted(lost):
        outcome.failures.append(f"lost: expected {case.lost}, got {sorted(lost)}")
    if sorted(case.invented) != sorted({name for view in views for name in view.invented}):
        outcome.failures.append(f"invented: expected {case.invented}, got {[view.invented for view in views]}")
    sent = [dialect.sign(dialect.encode([view], endpoint), endpoint, case.now, ENTROPY) for view in views]
    if len(sent) != len(case.sends):
        outcome.failures.append(f"sends: expected {len(case.sends)} requests, got {len(sent)}")
    for expected, actual in zip(case.sends, sent, strict=False):
        _compare_request(expected, actual, outcome)
    outcome.sent.update(_kinds_of(dialect, views))


def _kinds_of(dialect: Dialect, views: tuple[View, ...]) -> list[str]:
    return [dialect.kind(view.words) for view in views]


def _compare_request(expected: WireRequest, actual: Request, outcome: Outcome) -> None:
    wanted = expected.request()
    if (wanted.method, wanted.url) != (actual.method, actual.url):
        outcome.failures.append(f"sends: expected {wanted.method} {wanted.url}, got {actual.method} {actual.url}")
    if wanted.body != actual.body:
        outcome.failures.append(f"sends: expected body {wanted.body!r}, got {actual.body!r}")
    for name, value in wanted.headers:
        if actual.header(name) != value:
            outcome.failures.append(f"sends: expected header {name}: {value}, got {actual.header(name)}")


def _compare_ack(expected: Ack | None, status: int, body: bytes, outcome: Outcome) -> None:
    if expected is None:
        return
    if expected.status != status:
        outcome.failures.append(f"law 2: ack {expected.status} expected, got {status}")
    if bytes(expected.json) and wire_text(expected.json) != wire_text(body):
        outcome.failures.append(f"law 2: ack body {bytes(expected.json)!r} expected, got {body!r}")
    if expected.text is not None and expected.text.encode() != body:
        outcome.failures.append(f"law 2: ack body {expected.text!r} expected, got {body!r}")


def _compare_events(expected: list[dict[str, Any]], events: list[Event], law: str, outcome: Outcome) -> None:
    actual = [_plain(event) for event in events]
    for number, (wanted, got) in enumerate(zip(expected, actual, strict=False)):
        if "vendor" not in wanted:
            got.pop("vendor", None)
        if wanted != got:
            outcome.failures.append(f"{law}: event {number}: expected {wanted}, got {got}")
    if len(expected) != len(actual):
        outcome.failures.append(f"{law}: expected {len(expected)} events, got {len(actual)}")


def wire_text(content: msgspec.Raw | bytes) -> str:
    """Return JSON text with white space and escapes folded, member order and number text kept: wire-true comparing."""
    parsed = json.loads(
        bytes(content),
        parse_int=lambda digits: f"\x00{digits}",
        parse_float=lambda digits: f"\x00{digits}",
        object_pairs_hook=lambda pairs: ["\x01", *map(list, pairs)],
    )
    return json.dumps(parsed, ensure_ascii=False)


def _plain(event: Event) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(event))


def _with_raw(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "vendor": msgspec.Raw(msgspec.json.encode(event.get("vendor", {})))}


def _keys(secret: str | None, keys: list[WireKey]) -> list[Key]:
    shared = [Key(secret=secret.encode())] if secret is not None else []
    return [*shared, *[key.key() for key in keys]]


def _endpoint(dialect: Dialect, case: Case) -> Endpoint:
    return Endpoint(
        id="ep_vector",
        app_id="app_vector",
        url=case.request.url.partition("?")[0] if case.request else case.url,
        dialect=dialect.name,
        created_at=NOW,
        method=case.request.method if case.request else case.method,
        keys=tuple(_keys(case.secret, case.send_keys or case.keys)),
        options=case.options,
    )


def _fill(case: Case) -> Fill:
    app = App(
        id="app-1",
        name="demo",
        created_at=NOW,
        account_id="1234567890",
        app_key=b"appkey-1",
        biz_name="demo-biz",
        workspace_id="default",
    )
    base: dict[str, Any] = {"event_id": "ev-1", "recorded_at": NOW, "app": app}
    given = {name: value for name, value in case.fill.items() if name != "app"}
    typed = msgspec.convert({"event_id": "ev-1", "recorded_at": NOW, "app": msgspec.to_builtins(app)} | given, Fill)
    return msgspec.structs.replace(typed, app=base["app"])

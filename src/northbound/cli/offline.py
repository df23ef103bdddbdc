"""Commands that need no server: translate, match, vectors check."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from northbound.cli.output import AsJson, Code, out, print_json, shown, styled
from northbound.model.errors import InvalidInput

SourceFile = Annotated[
    str, typer.Argument(metavar="FILE", help="A request (method, url, headers, body or json), one a line, or a body; -")
]
PAGES = ("avd", "aliyun_cvc", "mpaas", "aliyun_rtc", "anyrtc")  # the five vendors' pages, in the order people know


def translate(
    file: SourceFile,
    source: Annotated[str, typer.Option("--from", metavar="DIALECT", help="The dialect FILE is in.")],
    target: Annotated[str, typer.Option("--to", metavar="DIALECT", help="The dialect to say it in.")],
    url: Annotated[str, typer.Option(help="URL that the translated requests go to.")] = "http://receiver.test/callback",
    method: Annotated[str | None, typer.Option(help="Method of the translated requests.")] = None,
    secret: Annotated[str | None, typer.Option(help="Verify what is read with this secret.")] = None,
    to_secret: Annotated[str | None, typer.Option(help="Sign what is written with this secret.")] = None,
    from_option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option for reading.")] = None,
    to_option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option for writing.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say requests of one dialect in another, offline: the requests, what is lost and what has to be invented.

    FILE is folded as the hub would, so events that a wire leaves unsaid (a room that opens) come out too.
    """
    from northbound.cli.requests import read_keys, read_options, read_requests, read_source, write_request
    from northbound.cli.saying import decode_all, endpoint_at, fold, say
    from northbound.dialects import dialect_named

    reading, writing = dialect_named(source), dialect_named(target)
    options = read_options(writing, to_option or [])
    now = datetime.now(UTC)
    events = decode_all(
        reading, read_requests(read_source(file)), read_options(reading, from_option or []), read_keys(secret), now
    )
    endpoint = endpoint_at(url, writing, options=options, keys=read_keys(to_secret), method=method)
    results: list[dict[str, Any]] = []
    for step in fold(events, now):
        saying = say(step, target, options)
        requests = [
            writing.sign(writing.encode([view], endpoint), endpoint, now, os.urandom(32)) for view in saying.views
        ]
        results.append(
            {
                "event": step.logged.event.type.value,
                "concluded": saying.is_concluded,
                "requests": [write_request(request) for request in requests],
                "lost": sorted({name for view in saying.views for name in view.lost}),
                "invented": sorted({name for view in saying.views for name in view.invented}),
            }
        )
    if as_json:
        print_json({"from": source, "to": target, "events": results})
    else:
        _print_translation(results, target)
    if not any(result["requests"] for result in results):
        raise typer.Exit(Code.NO)


def _print_translation(results: Sequence[dict[str, Any]], target: str) -> None:
    console = out()
    if not results:
        console.print("the request holds no event (a test message)")
    for result in results:
        how = " (concluded: the wire leaves it unsaid)" if result["concluded"] else ""
        console.print(styled(f"{result['event']}{how}", "bold"))
        if not result["requests"]:
            console.print(styled(f"  {target} has no word for it", "yellow"))
            continue
        for request in result["requests"]:
            console.print(f"  {request['method']} {shown(request['url'])}")
            for name, value in request["headers"].items():
                console.print(f"  {name}: {shown(value)}")
            console.print(f"\n  {shown(_body_of(request), lines=True)}")
        for word, style in (("lost", "yellow"), ("invented", "cyan")):
            said = ", ".join(result[word]) or "nothing"
            console.print(styled(f"  {word}: {said}", style if result[word] else "dim"))


def _body_of(request: dict[str, Any]) -> str:
    content = request.get("json", request.get("body", request.get("body_base64", "")))
    return bytes(content).decode() if isinstance(content, msgspec.Raw) else str(content)


def match(
    pattern: Annotated[str, typer.Option(metavar="JSON|@FILE", help="The event pattern, or @ and a file of it.")],
    event: Annotated[
        str, typer.Option(metavar="FILE", help="The event as the view shows it, or a request with --from.")
    ],
    view: Annotated[str, typer.Option(help="What the rule sees: standard, or a dialect's own words.")] = "standard",
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="DIALECT", help="FILE is a request of this dialect; say it in --view."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether an event pattern matches an event, field by field, offline. Exit code 1 when it does not.

    A hub subscription sees the standard CloudEvent form; a rule on a vendor's bus sees that vendor's form (--view).
    """
    from northbound.cli.requests import read_source
    from northbound.dialects import dialect_named
    from northbound.logic.match import compile_pattern, explain

    dialect_named(view)
    compiled = compile_pattern(read_source(pattern[1:]) if pattern.startswith("@") else pattern)
    seen = _seen(read_source(event), view, source)
    found = [explain(compiled, one) for one in seen]
    is_matched = any(one.matched for one in found)
    if as_json:
        print_json({"view": view, "matched": is_matched, "events": [msgspec.to_builtins(one) for one in found]})
    else:
        console = out()
        for one in found:
            console.print(styled("matched" if one.matched else "not matched", "green" if one.matched else "red"))
            table = Table(box=None, pad_edge=False, show_header=bool(one.findings))
            for name in ("", "field", "wanted", "found"):
                table.add_column(name, overflow="fold")
            for finding in one.findings:
                mark = styled("yes", "green") if finding.matched else styled("no", "red")
                table.add_row(mark, styled(finding.path, ""), styled(finding.wants, ""), styled(finding.has, ""))
            console.print(table)
        console.print(styled(f"view: {view}" + (f", said from {source}" if source else ""), "dim"))
    if not is_matched:
        raise typer.Exit(Code.NO)


def _seen(content: bytes, view: str, source: str | None) -> list[Any]:
    """Return the events as the rule sees them."""
    from northbound.cli.requests import read_requests
    from northbound.cli.saying import decode_all, fold, matched_view
    from northbound.dialects import dialect_named

    if source is not None:
        now = datetime.now(UTC)
        steps = fold(decode_all(dialect_named(source), read_requests(content), {}, (), now), now)
        words = [matched_view(step, view) for step in steps]
        found = [one for one in words if one is not None]
        if not found:
            raise InvalidInput(f"{view} has no word for what FILE holds, so no rule over it can match")
        return found
    try:
        event: Any = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the event is not JSON: {error}; give the event, or a request with --from") from None
    if not isinstance(event, dict):
        raise InvalidInput("the event must be a JSON object")
    return [event]


def vectors_check(
    folder: Annotated[Path | None, typer.Option(help="Folder of vectors; default: the shipped ones.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold every dialect to its laws by the vectors, and count the kinds proven in each direction: in, then out."""
    from northbound.dialects import all_dialects
    from northbound.testing.vectors import coverage, load, run_file

    if folder is not None and not folder.is_dir():
        raise InvalidInput(f"there is no folder {folder}")
    outcomes = [outcome for name, file in load(folder) for outcome in run_file(name, file)]
    failed = [outcome for outcome in outcomes if outcome.failures]
    counted = coverage(outcomes)
    dialects = all_dialects()
    # What a wire cannot be told from elsewhere (a source only) has nothing to prove on the way out.
    missing = [
        name
        for name, (read, sent) in counted.items()
        for groups in ((read, sent) if dialects[name].types else (read,))
        if any(have < want for have, want in groups)
    ]
    if as_json:
        print_json(
            {
                "cases": len(outcomes),
                "in": {name: read for name, (read, _) in counted.items()},
                "out": {name: sent for name, (_, sent) in counted.items()},
                "failures": [{"file": one.file, "case": one.case, "failures": one.failures} for one in failed],
                "missing": sorted(set(missing)),
            }
        )
    else:
        console = out()
        others = [name for name in counted if name not in PAGES]
        for names in (PAGES, others):
            for direction, place in (("in ", 0), ("out", 1)):
                kept = [name for name in names if name in counted and (place == 0 or dialects[name].types)]
                console.print(f"{direction}  " + " · ".join(f"{name} {_counts(counted[name][place])}" for name in kept))
        for one in failed:
            console.print(styled(f"{one.file}: {one.case}", "bold red"))
            for failure in one.failures:
                console.print(f"  {shown(failure, lines=True)}")
        console.print(f"{len(outcomes)} vectors, {len(failed)} failed")
    if failed or missing or not outcomes:
        raise typer.Exit(Code.NO)


def _counts(groups: Sequence[tuple[int, int]]) -> str:
    return " + ".join(f"{have}/{want}" for have, want in groups)

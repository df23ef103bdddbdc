"""Repair the page's own printed sample, which is not JSON: bare quotes inside `data`, and `//` comments (ruling 11)."""

import json
import re

from northbound.model.errors import DecodeError

# Each alternative takes what it begins, to the end if need be, so no input makes the search start over.
MARK = re.compile(r'"(?:[^"\\]|\\.)*+"?|//[^\r\n]*|[{}\[\]]', re.DOTALL)
BARE_OBJECT = re.compile(r'\s*:\s*"(?=\{)')


def salvage(body: bytes) -> bytes:
    """Quote an unescaped `data` properly, then strip `//` comments outside strings.

    What is not broken in these two ways comes back as it was (seed 000, 接收事件信息json).
    """
    try:
        content = _requote_data(body.decode())
    except UnicodeDecodeError:
        raise DecodeError("the body is not UTF-8") from None
    return MARK.sub(lambda mark: "" if mark[0].startswith("//") else mark[0], content).strip().encode()


def _requote_data(content: str) -> str:
    depth = 0
    for mark in MARK.finditer(content):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark[0], 0)
        if depth == 1 and mark[0] == '"data"':
            opening = BARE_OBJECT.match(content, mark.end())  # once: a second `data` is refused later on
            return content if opening is None else _quote_object(content, opening.end())
    return content


def _quote_object(content: str, start: int) -> str:
    """Quote the JSON object at *start*, which stands between bare quotes."""
    try:
        _, end = json.JSONDecoder().raw_decode(content, start)
    except (ValueError, RecursionError):
        return content
    if content[end : end + 1] != '"':
        return content
    return content[: start - 1] + json.dumps(content[start:end], ensure_ascii=False) + content[end + 1 :]

"""The vendors' pages as a new user follows them: their blocks pasted in order into one shell, exports and all."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from e2e.hub import Hub

PAGES = Path(__file__).parents[2] / "docs" / "vendors"
OURS = re.compile(r"NORTHBOUND_|CALLBACK$|ACCESS_KEY_|APP")  # what a page sets, and a test must not


class Terminal:
    """A shell beside a hub's data folder. Only where hub and receiver are is set before: a test has neither port free.

    `python` runs the programs; `northbound` is this checkout's.
    """

    def __init__(self, hub: Hub, folder: Path, callback: str, *, python: Path | str = sys.executable) -> None:
        self._folder, tools = folder, folder / "bin"
        tools.mkdir()
        commands = {"northbound": f'"{sys.executable}" -m northbound.cli', "python3": f'env -u PYTHONPATH "{python}"'}
        for name, command in commands.items():
            (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (tools / name).chmod(0o755)
        (folder / "northbound-data").symlink_to(hub.folder.path.absolute())
        kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
        self._environment = kept | {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
            "NORTHBOUND_SERVER": f"http://{hub.config.listen}",
            "CALLBACK": callback,
        }

    def run(self, *blocks: str, **variables: str) -> str:
        """Run *blocks* in one shell, stopping at the first failure; return what they printed."""
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)], cwd=self._folder,
            env=self._environment | variables, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        return ended.stdout


def blocks(name: str, section: str = "Point your client here") -> list[str]:
    """Return what a section's blocks come to in a shell, in their order; a Python program is pasted as one."""
    _, level, part = re.split(rf"^(#+) {section}\n", (PAGES / f"{name}.md").read_text(), flags=re.MULTILINE)
    part = re.split(rf"^#{{2,{len(level)}}} ", part, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^```(sh|python)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    return [text if language == "sh" else f"python3 - <<'PAGE'\n{text}PAGE\n" for language, text in found]


def values(printed: str) -> list[Any]:
    """Return the JSON values that were printed, one behind the other."""
    decoder, text, found = json.JSONDecoder(), printed.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found

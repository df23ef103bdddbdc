"""A client in a process of its own, asked by lines of JSON."""

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Self


class Driver:
    """A running `*_driver.py`, by the Python that has its client."""

    def __init__(self, python: Path, program: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(python), str(Path(__file__).with_name(program))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self._process.communicate(timeout=10)

    def ask(self, **words: Any) -> dict[str, Any]:
        """Return what came of one call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client's process ended; its error is above"
        return json.loads(line)

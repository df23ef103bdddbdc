"""EventBridge's data-plane client, in a virtualenv of its own: it pins what the other clients cannot work with.

The virtualenv is made when it is first needed, from its own lock file, and kept beside the checkout's: once for each
content of the lock file, whoever runs the tests.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdk.asked import PLANE, SIGNATURES
from sdk.customer import Customer
from sdk.driver import Driver

(SIGNATURE,) = SIGNATURES[PLANE]
ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "sdk-eventbridge.txt"
PROGRAM = "plane_driver.py"


def interpreter() -> Path:
    """Return the Python that has the client, made now if there is none yet."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = Path(sys.prefix) / f"sdk-eventbridge-{digest}"
    python, stamp = folder / "bin" / "python", folder / "complete"
    with (Path(sys.prefix) / "sdk-eventbridge.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two runs at once make it once
        if not stamp.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
            # Our own pip works for the other one: some systems ship Python without ensurepip.
            _run(sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--disable-pip-version-check",
                 "--require-hashes", "-r", str(LOCK))  # fmt: skip
            stamp.touch()
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[2:5]}: {done.stdout[-2000:]}{done.stderr[-4000:]}"


class Refused(Exception):
    """The client raised; `before` are the calls of the same that were answered."""

    def __init__(self, code: str, message: str, before: int) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.before = before


@dataclass(frozen=True)
class Plane:
    """A customer's client of the data plane; what is given and answered is in Pascal case."""

    driver: Driver
    customer: Customer

    def call(self, name: str, model: str, how: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
        """Return an action's answer; raise `Refused`.

        *how* may hold `ahead`, seconds by which the clock is, `times` to call, and settings of the client.
        """
        return self._asked(name, model, given, how or {})

    def put(self, *events: dict[str, Any], **how: Any) -> dict[str, Any]:
        """Put events: `bus` is put into the extensions, where this client wants it."""
        given = [
            {name: value for name, value in one.items() if name != "bus"}
            | {"extensions": {"aliyuneventbusname": one.get("bus", "default")} | one.get("extensions", {})}
            for one in events
        ]
        return self._asked("put_events", "", given, how)

    def _asked(self, name: str, model: str, given: Any, how: dict[str, Any]) -> dict[str, Any]:
        config = {
            "access_key_id": self.customer.access_key_id,
            "access_key_secret": self.customer.access_key_secret,
            "endpoint": self.customer.address,
            "protocol": "http",
            "region_id": "cn-hangzhou",
        } | {key: value for key, value in how.items() if key not in {"ahead", "times"}}
        words = {"ahead": how.get("ahead", 0), "times": how.get("times", 1)}
        found = self.driver.ask(call=name, model=model, given=given, config=config, **words)
        if "answer" not in found:
            raise Refused(found["code"], found["message"], found["before"])
        return found["answer"]

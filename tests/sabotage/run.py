"""Spoil one line at a time in a copy of the tree: the test that is named for it must go red.

    python tests/sabotage/run.py [--why] [part of a patch's name ...]

The tests run once on the unspoilt copy first, where all must pass. Exits 1 when a patch survives, when its line is
not there exactly once any more, or when the copy is not what the tests import.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).with_name("patches.toml")
LIMIT = 120.0  # seconds of one test
COPIED = ("src", "tests", "docs", "pyproject.toml", "README.md")


class Patch(NamedTuple):
    """One spoilt line and the test that must notice."""

    name: str
    file: str
    old: str
    new: str
    test: str


class Copy:
    """The tree, to be spoilt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *COPIED]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self._environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}

    def path(self, patch: Patch) -> Path:
        return self.folder / "src" / "northbound" / patch.file

    def imports_itself(self) -> bool:
        """Tell whether `northbound` is this copy, not the tree that is installed."""
        command = [sys.executable, "-c", "import northbound; print(northbound.__file__)"]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=True
        )
        return Path(done.stdout.strip()).is_relative_to(self.folder)

    def run(self, *tests: str) -> tuple[int, str]:
        """Run *tests* here; return pytest's exit code and what it said."""
        command = [sys.executable, "-m", "pytest", "-x", "--tb=line", "-p", "no:randomly", *tests]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=LIMIT * len(tests),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 1, "it did not end"
        return done.returncode, done.stdout + done.stderr


def outcome(copy: Copy, patch: Patch) -> str:
    """Spoil the line, run the test, restore the line; return "red", or what is wrong."""
    path = copy.path(patch)
    sound = path.read_text()
    if sound.count(patch.old) != 1:
        return f"STALE: the line stands {sound.count(patch.old)} times in {patch.file}"
    path.write_text(sound.replace(patch.old, patch.new))
    try:
        compile(path.read_text(), patch.file, "exec")
        code, said = copy.run(patch.test)
    except SyntaxError as error:
        return f"BROKEN: the spoilt line is no Python: {error.msg}"
    finally:
        path.write_text(sound)
    if code == 1 and _is_about_the_test(said):
        if "--why" in sys.argv:
            print(
                "\n".join(f"    {line[:160]}" for line in said.splitlines() if line.startswith(("E ", "/", "FAILED")))
            )
        return "red"
    return "SURVIVED" if code == 0 else f"BROKEN: pytest ended with {code}: {said[-300:]}"


def _is_about_the_test(said: str) -> bool:
    """A test that cannot even be collected proves nothing."""
    return "error during collection" not in said and "errors during collection" not in said


def main(wanted: list[str]) -> int:
    every = [Patch(**one) for one in tomllib.loads(PATCHES.read_text())["patch"]]
    patches = [one for one in every if not wanted or any(part in one.name for part in wanted)]
    with tempfile.TemporaryDirectory(prefix="northbound-sabotage-") as name:
        copy = Copy(Path(name))
        if not copy.imports_itself():
            print("sabotage: the tests would import another tree than the copy")
            return 1
        code, said = copy.run(*dict.fromkeys(one.test for one in patches))
        if code != 0:
            print(f"sabotage: the tests must pass before anything is spoilt\n{said[-3000:]}")
            return 1
        results = [(one, *timed(copy, one)) for one in patches]
    survivors = [one for one, result, _ in results if result != "red"]
    print(f"sabotage: {len(results) - len(survivors)} of {len(results)} patches turned their test red")
    return 1 if survivors or not results else 0


def timed(copy: Copy, patch: Patch) -> tuple[str, float]:
    began = time.monotonic()
    result = outcome(copy, patch)
    seconds = time.monotonic() - began
    print(f"  {result:<8} {seconds:5.1f} s  {patch.name:<55} {patch.test.partition('::')[2]}", flush=True)
    return result, seconds


if __name__ == "__main__":
    sys.exit(main([one for one in sys.argv[1:] if one != "--why"]))

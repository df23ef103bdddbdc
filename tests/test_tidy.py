"""House rules that no linter knows: what pure floors may import, where vendor words may stand, what must be said."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "northbound"
PURE = ("model", "dialects", "logic", "doors")
ALLOWED = frozenset(
    "__future__ base64 binascii bisect collections datetime difflib email enum functools hashlib heapq hmac importlib "
    "ipaddress itertools json math operator pkgutil re string types typing unicodedata urllib uuid zlib zoneinfo "
    "msgspec cryptography northbound".split()
)
# Names of those modules that read the clock, roll dice or touch the world.
IMPURE = frozenset("now utcnow today uuid1 uuid4 urandom urlopen urlretrieve import_module getaddrinfo".split())
REGISTRY = "dialects/__init__.py"  # finds the dialects: the one import by name in a pure floor
# Words that only dialects, their vectors and their documents may say.
VENDOR = re.compile(
    r"check_code|bizRequestId|trace_id|faild|MsgTimestamp|Ar-Signature|noticeId|aliyuncvc|meetingUUID|recordResult"
    r"|videoroom|x-eventbridge",
    re.IGNORECASE,
)


def python_files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.rglob("*.py"))


@pytest.mark.parametrize("floor", PURE)
def test_pure_floors_import_from_the_allow_list_only(floor: str) -> None:
    """A forbidden list lets new impurities in; an allow-list does not."""
    for path in python_files(SOURCE / floor):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.partition(".")[0] in ALLOWED, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("floor", PURE)
def test_pure_floors_neither_read_the_clock_nor_roll_dice(floor: str) -> None:
    """`now`, ids and jitter are arguments."""
    for path in python_files(SOURCE / floor):
        if str(path.relative_to(SOURCE)) == REGISTRY:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in IMPURE:
                pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno} uses .{node.attr}")
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"open", "print", "input"}
            ):
                pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno} calls {node.func.id}")


def test_vendor_words_stay_in_their_dialects() -> None:
    """One word, one thing: the rest of the program speaks the house's words."""
    for path in python_files(SOURCE):
        inside = path.relative_to(SOURCE).parts[0]
        if inside in {"dialects", "doors", "testing", "cli"} or path.parent.name == "doors":
            continue
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert not VENDOR.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_no_file_grew_for_years() -> None:
    """Split while it is cheap."""
    for path in python_files(SOURCE):
        lines = len(path.read_text().splitlines())
        limit = 650 if "dialects" in path.parts else 460
        assert lines <= limit, f"{path.relative_to(ROOT)} has {lines} lines"


def test_modules_say_what_they_are_for() -> None:
    """The first line of a module is a sentence."""
    for path in python_files(SOURCE):
        document = ast.get_docstring(ast.parse(path.read_text()))
        assert document, f"{path.relative_to(ROOT)} says nothing"


def test_no_todo_without_an_issue() -> None:
    for path in [*python_files(SOURCE), *python_files(ROOT / "tests")]:
        if path != Path(__file__):
            assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text()), path


def test_names_say_something() -> None:
    banned = {"utils", "util", "common", "helpers", "helper", "manager", "handler", "processor", "misc", "core"}
    for path in python_files(SOURCE):
        assert path.stem not in banned, path
        assert not banned & set(path.relative_to(SOURCE).parts), path


def test_tree_names_no_machine_no_registry() -> None:
    """No path of a machine, no address of a package registry."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    for name in filter(None, listed):
        path = ROOT / name
        if path == Path(__file__) or path.suffix in {".ndjson", ".db"} or not path.is_file():
            continue
        content = path.read_text(errors="ignore")
        found = re.search(r"/work/|/root/|/home/\w|pypi\.org|files\.pythonhosted|index-url|find-links [/h]", content)
        if name.startswith("requirements") or found:
            assert not (found and name != "Makefile"), f"{name}: {found}"


def test_public_modules_import_alone() -> None:
    """Importing the package starts nothing and needs no settings."""
    code = "import northbound.dialects as d; print(len(d.all_dialects()))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 7

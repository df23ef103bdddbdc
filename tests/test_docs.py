"""The documents say what is: settings, options, commands, links, named tests, and examples that run."""

import ast
import base64
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import msgspec
import pytest
import typer

from northbound.config import Config
from northbound.dialects import all_dialects
from northbound.dialects.base import read_params
from northbound.logic.derive import Step
from northbound.logic.fill import fill_for
from northbound.logic.project import apply
from northbound.model.app import App, Endpoint
from northbound.model.event import Event, EventType
from northbound.model.log import Logged, Origin
from northbound.model.room import Room
from northbound.model.wire import Key, Proof, Request

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCE = ROOT / "src" / "northbound"
FOLDERS = sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "vectors")
GUIDE = ROOT / "docs" / "guides" / "add-a-dialect.md"
RECEIVING = ROOT / "docs" / "guides" / "receive-callbacks.md"
NAMED = re.compile(r"`northbound ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
TYPED = re.compile(r"^(?:\$ )?northbound ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", re.MULTILINE)
RUNNABLE = re.compile(r"northbound (vectors|translate|match|config)\b")

pages = pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


# --- settings, options, types ----------------------------------------------------------------------------------------


def as_toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("field", msgspec.structs.fields(Config), ids=lambda field: field.name)
def test_every_setting_is_documented_with_its_default(field: Any) -> None:
    """A setting nobody can read about does not exist."""
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| (.+) \|$", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    known = {name: (default, says) for name, default, says in rows}

    assert as_toml(field.default) == known[field.name][0]
    assert known[field.name][1].rstrip().endswith(".")


def test_no_setting_is_documented_that_is_gone() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `.+?` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)

    assert [field.name for field in msgspec.structs.fields(Config) if field.name not in rows] == []
    assert [name for name in rows if name not in {field.name for field in msgspec.structs.fields(Config)}] == []


@pytest.mark.parametrize("name", sorted(all_dialects()))
def test_every_option_of_a_dialect_is_on_its_page(name: str) -> None:
    """What a customer may want otherwise is listed where the wire is described."""
    page = ROOT / "docs" / "vendors" / f"{name}.md"
    options = [option.name for option in all_dialects()[name].options]
    text = page.read_text() if page.exists() else ""

    assert [option for option in options if f"`{option}`" not in text] == []


def test_the_vendors_page_lists_every_dialect() -> None:
    text = (ROOT / "docs/vendors/README.md").read_text()

    assert [name for name in all_dialects() if f"`{name}`" not in text] == []


@pytest.mark.parametrize("kind", list(EventType))
def test_every_event_type_is_in_the_glossary(kind: EventType) -> None:
    assert f"| `{kind.value}` |" in (ROOT / "docs/glossary.md").read_text()


# --- both languages --------------------------------------------------------------------------------------------------

CHINESE = ROOT / "docs" / "zh"
IN_CHINESE = (
    "api.md cli.md configuration.md guarantees.md metrics.md reliability.md "
    "guides/add-a-dialect.md guides/alarms.md guides/receive-callbacks.md guides/upgrade.md"
).split()
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def headings(text: str) -> list[int]:
    """Return the level of each heading, in order."""
    return [len(level) for level in re.findall(r"^(#+) ", without_code(text), re.MULTILINE)]


def tables(text: str) -> list[list[str]]:
    """Return what each row of a table has in backticks: settings, options, headers, metrics, tests; in any order."""
    rows = re.findall(r"^\|.*$", without_code(text), re.MULTILINE)
    return [sorted(re.findall(r"`([^`]+)`", row)) for row in rows]


def test_every_page_of_the_guides_and_references_is_in_both_languages() -> None:
    """A new page comes in both; a page that goes takes its twin along."""
    folder = ROOT / "docs"
    single = {"glossary.md"}  # both languages on one page, as the vendors' pages are
    english = {path.relative_to(folder) for path in [*folder.glob("*.md"), *folder.glob("guides/*.md")]}

    assert sorted(IN_CHINESE) == sorted(str(path) for path in english if path.name not in single)
    assert sorted(IN_CHINESE) == sorted(str(path.relative_to(CHINESE)) for path in CHINESE.rglob("*.md"))


@pytest.mark.parametrize("name", IN_CHINESE)
def test_both_languages_of_a_page_are_in_step(name: str) -> None:
    """Who changes docs/<page> changes docs/zh/<page> too: same code, same headings, same words in each table row."""
    english, chinese = (ROOT / "docs" / name).read_text(), (CHINESE / name).read_text()

    advice = f"docs/{name} and docs/zh/{name} are one page in two languages: change both"
    assert FENCED.findall(english) == FENCED.findall(chinese), advice
    assert headings(english) == headings(chinese), advice
    assert tables(english) == tables(chinese), advice


@pytest.mark.parametrize("name", IN_CHINESE)
def test_both_languages_of_a_page_link_to_each_other(name: str) -> None:
    up = "../" * name.count("/")

    assert f"[中文]({up}zh/{name})\n" in (ROOT / "docs" / name).read_text()
    assert f"[English](../{up}{name})\n" in (CHINESE / name).read_text()


def western(text: str) -> list[str]:
    """Return where ASCII punctuation touches a Chinese character, or code that stands in a Chinese sentence."""
    text = re.sub(r"`[^`\n]*`", "\u7801", re.sub(r"\]\([^)]*\)|\\(?=\|)", "", without_code(text)))
    return re.findall(r".{0,9}[一-鿿][,;:?!()].{0,9}|.{0,9}[,;:?!(][一-鿿].{0,9}", text)


@pytest.mark.parametrize("name", IN_CHINESE)
def test_chinese_pages_have_chinese_punctuation(name: str) -> None:
    assert western((CHINESE / name).read_text()) == []


VENDORS = sorted(path.stem for path in (ROOT / "docs" / "vendors").glob("*.md"))
MARKS = {"documented": "有文档", "captured": "有抓包", "inferred": "推定", "ours": "我们定的", "third party": "第三方"}


def halves(name: str) -> tuple[str, str]:
    """Return the Chinese half and the English half of a vendor's page."""
    text = (ROOT / "docs" / "vendors" / f"{name}.md").read_text()
    chinese, _, english = text.partition("\n## 中文\n")[2].partition("\n## English\n")
    assert english, f"docs/vendors/{name}.md has a half below '## 中文', then one below '## English'"
    return chinese, english


def marks(text: str, column: str, words: Iterable[str]) -> list[list[int]]:
    """Return, for each row of the tables that end in *column*, which of *words* its last cell has."""
    found = re.findall(rf"^\|.*\| {column} \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    cells = [row.rstrip(" |").rpartition(" | ")[2] for table in found for row in table.splitlines()]
    return [[at for at, word in enumerate(words) if word in cell] for cell in cells]


@pytest.mark.parametrize("name", VENDORS)
def test_both_halves_of_a_vendors_page_are_in_step(name: str) -> None:
    """The same headings, the same words in each table row, each fact as sure; what is pasted stands once."""
    chinese, english = halves(name)

    advice = f"docs/vendors/{name}.md says one thing in two languages: change both"
    assert headings(chinese) == headings(english), advice
    assert tables(chinese) == tables(english), advice
    assert marks(chinese, "把握", MARKS.values()) == marks(english, "Sure", MARKS), advice
    assert not re.search(r"^```(?:sh|python)$", chinese, re.MULTILINE)


@pytest.mark.parametrize("name", VENDORS)
def test_the_chinese_half_of_a_vendors_page_has_chinese_punctuation(name: str) -> None:
    assert western(halves(name)[0]) == []


def test_both_halves_of_the_readme_are_in_step() -> None:
    """The Chinese half has the same commands and outputs, all but the picture, and as many rows that lead on."""
    english, _, chinese = (ROOT / "README.md").read_text().partition("\n## 中文\n")

    assert FENCED.findall(english)[1:] == FENCED.findall(chinese)
    assert len(tables(english)) == len(tables(chinese))
    assert english.count("\n- **") == chinese.count("\n- **")


# --- metrics ---------------------------------------------------------------------------------------------------------

SUFFIXES = {"counter": "_total", "gauge": "", "histogram": ""}


def made_metrics() -> set[tuple[str, str, tuple[str, ...]]]:
    """Return (name as shown, type, labels) of each metric that the source makes."""
    found = {("northbound_process_up", "gauge", ("process",))}  # written as text, of processes that do not answer
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
                continue
            kind = ast.unparse(node.func).rpartition(".")[2].removesuffix("MetricFamily").lower()
            name = node.args[0].value
            if kind not in SUFFIXES or not str(name).startswith("northbound_"):
                continue
            given = [one.value for one in node.keywords if one.arg in ("labels", "labelnames")] + node.args[2:3]
            labels = [str(ast.literal_eval(label)) for one in given if isinstance(one, ast.List) for label in one.elts]
            found.add((name + SUFFIXES[kind], kind, tuple(labels)))
    return found


def test_every_metric_is_on_its_page_with_its_labels() -> None:
    """A figure that nobody can read about is not watched, and one that is gone misleads."""
    rows = re.findall(
        r"^\| `(northbound_\w+)` \| (\w+) \| (.*?)\|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE
    )
    listed = [(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]

    assert sorted(made_metrics()) == sorted(listed)


# --- links, commands, tests that are named ---------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """Return the fragment that a heading gets."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pages
def test_links_between_documents_resolve(page: Path) -> None:
    """A file that moved takes its links along."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = unquote(target).partition("#")
        found = (page.parent / path) if path else page
        assert found.exists(), f"{page.relative_to(ROOT)} links to {target}"
        if fragment:
            headings = re.findall(r"^#+ (.+)$", without_code(found.read_text()), re.MULTILINE)
            assert fragment in map(anchor, headings), f"{page.relative_to(ROOT)} links to {target}"


def commands() -> set[str]:
    """Return every command of the command line, groups with their commands."""
    from northbound.cli import app

    found: set[str] = set()

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        if path:
            found.add(" ".join(path))
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))

    walk(typer.main.get_command(app), ())
    return found


@pages
def test_every_command_that_is_named_exists(page: Path) -> None:
    """`northbound <command>` in a document can be typed."""
    known = commands()
    text = page.read_text()
    blocks = "\n".join(re.findall(r"^```\w*$(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    named = NAMED.findall(without_code(text)) + TYPED.findall(blocks)
    groups = {name.partition(" ")[0] for name in known if " " in name}
    for first, second in named:
        wanted = f"{first} {second}" if first in groups and second else first
        assert wanted in known, f"{page.relative_to(ROOT)} names northbound {wanted}"


@cache
def functions_in(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pages
def test_every_test_that_is_named_exists(page: Path) -> None:
    """A document claims what a test shows, so the test is there."""
    for path, _, name in re.findall(r"`((?:tests|testing)/[\w/]+\.py)(::(\w+))?`", page.read_text()):
        file = (SOURCE if path.startswith("testing/") else ROOT) / path
        assert file.exists(), f"{page.relative_to(ROOT)} names {path}"
        if name:
            assert name in functions_in(file), f"{page.relative_to(ROOT)} names {path}::{name}"


def test_every_fault_has_its_line() -> None:
    """The list of faults is whole, each once."""
    found = re.findall(r"^\| ([SDIRT]\d+) \|", (ROOT / "docs" / "reliability.md").read_text(), re.MULTILINE)
    last = {"S": 15, "D": 20, "I": 17, "R": 16, "T": 10}

    assert found == [f"{letter}{number}" for letter, count in last.items() for number in range(1, count + 1)]


@pages
def test_every_file_of_the_tree_that_is_named_exists(page: Path) -> None:
    """A path under docs, src, tests or tools is one that can be opened."""
    if page.name in (GUIDE.name, "CONTRIBUTING.md"):  # they name files that a reader is to write
        return
    for path in re.findall(r"`((?:docs|src|tests|tools|requirements)/[\w./-]+\.\w+)`", page.read_text()):
        assert (ROOT / path).exists(), f"{page.relative_to(ROOT)} names {path}"
    for path in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w/]+\.(?:py|sql))`", page.read_text()):
        assert (SOURCE / path).exists(), f"{page.relative_to(ROOT)} names {path}"


# --- examples that run -----------------------------------------------------------------------------------------------


def shell_examples() -> Iterator[tuple[str, str]]:
    """Yield (command, expected output or nothing) of the README's shell blocks that need no server."""
    text = (ROOT / "README.md").read_text().partition("\n## 中文\n")[0]  # the other half has the same blocks
    for block, _, output in re.findall(r"^```sh\n(.*?)^```\n(\n```text\n(.*?)^```$)?", text, re.MULTILINE | re.DOTALL):
        lines = [line for line in block.replace("\\\n", " ").splitlines() if RUNNABLE.match(line)]
        for line in lines:
            yield line, output if len(lines) == 1 else ""


def with_numbers_folded(text: str) -> list[str]:
    """Return the lines, numbers as one sign: counts grow, the shape of what is said does not."""
    return [re.sub(r"\d+", "0", line).rstrip() for line in text.strip().splitlines()]


def northbound(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = [sys.executable, "-m", "northbound.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_readme_has_examples_to_run() -> None:
    """The test below would pass in silence if its reading of the README were wrong."""
    assert len([command for command, output in shell_examples() if output]) >= 3


@pytest.mark.parametrize(("command", "output"), list(shell_examples()))
def test_the_examples_of_the_readme_run(command: str, output: str) -> None:
    """What the README shows is what one gets."""
    ended = northbound(*shlex.split(command)[1:])

    assert ended.returncode in (0, 1) and not ended.stderr, ended.stderr
    assert with_numbers_folded(output or ended.stdout) == with_numbers_folded(ended.stdout)


def guide_files() -> dict[str, str]:
    """Return the files that the guide has its reader write, by path."""
    found = re.findall(r"^`(src/[\w/.]+)`:\n\n```\w+\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(found)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Follow the guide in a copy of the package: write the two files, edit nothing."""
    source = tmp_path_factory.mktemp("followed") / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    for path, content in guide_files().items():
        file = source.parent / path
        assert not file.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return source


def test_the_guide_writes_one_module_and_one_vector_file() -> None:
    """A new vendor is one file and one folder."""
    assert list(guide_files()) == ["src/northbound/dialects/acme.py", "src/northbound/vectors/acme/rooms.json"]


def test_the_guides_dialect_holds_the_laws(followed: Path) -> None:
    """Found by its folder alone, proven in both directions by its vectors."""
    ended = northbound("vectors", "check", "--json", PYTHONPATH=str(followed))
    told = json.loads(ended.stdout)

    assert (ended.returncode, told["failures"]) == (0, [])
    assert told["in"]["acme"] == [[4, 4]]
    assert told["out"]["acme"] == [[4, 4]]


def test_the_guides_dialect_takes_part(followed: Path) -> None:
    """Other vendors' events can be said in it at once."""
    request = str(ROOT / "docs" / "examples" / "mpaas-leave.json")

    ended = northbound("translate", request, "--from", "mpaas", "--to", "acme", PYTHONPATH=str(followed))

    assert ended.returncode == 0, ended.stderr
    assert '"kind":"user_out","room":"maths","user":"u-7"' in ended.stdout


def test_the_guides_dialect_passes_the_linter(followed: Path) -> None:
    """What the guide shows would be accepted."""
    path = followed / "northbound" / "dialects" / "acme.py"
    for arguments in (["format", "--check"], ["check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--config", str(ROOT / "pyproject.toml"), str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout


# --- the receiver's guide against what the hub sends -----------------------------------------------------------------

SECRET = b"receiver's secret"


@pytest.fixture(scope="module")
def checks() -> dict[str, Any]:
    """Return the functions that the guide gives to a receiver's author."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", RECEIVING.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(RECEIVING), "exec"), names)  # noqa: S102 - our own document
    return names


def sent(name: str, *, secret: bytes = SECRET, method: str = "POST") -> Request:
    """Return a join as the hub would send it now."""
    now = datetime.now(UTC)
    dialect = all_dialects()[name]
    app = App(id="app-1", name="school", created_at=now, biz_name="lessons")
    event = Event(type=EventType.PARTICIPANT_JOINED, dialect="elsewhere", room_id="r1", participant_id="李雷 & co")
    logged = Logged(
        id="ev-1",
        partition=0,
        offset=0,
        source_id="src-1",
        recorded_at=now,
        proof=Proof.NONE,
        origin=Origin.OBSERVED,
        event=event,
    )
    room = Room(source_id="src-1", id="r1")
    step = Step(key="src-1//r1", logged=logged, before=room, after=apply(room, logged))
    endpoint = Endpoint(
        id="ep-1",
        app_id=app.id,
        url="http://receiver.test:8080/callback",
        dialect=name,
        created_at=now,
        method=method,
        keys=(Key(secret=secret),),
    )
    views = dialect.view(event, fill_for(step, app), {})
    return dialect.sign(dialect.encode(views[:1], endpoint), endpoint, now, bytes(32))


def is_accepted(checks: dict[str, Any], name: str, request: Request, secret: bytes) -> bool:
    def header(wanted: str) -> str:
        return request.header(wanted) or ""

    match name:
        case "avd":
            given = request.query or request.body.decode()
            return checks["is_avd"](list(read_params(given)), secret)
        case "mpaas":
            return checks["is_mpaas"](request.body, header("x-northbound-signature"), secret)
        case "aliyun_rtc":
            stamp, given = header("ali-rtc-timestamp"), header("ali-rtc-signature")
            return checks["is_aliyun_rtc"]("receiver.test", stamp, given, secret)
        case "anyrtc":
            return checks["is_anyrtc"](request.body, header("ar-signature"), secret)
        case _:
            words = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
            return checks["is_standard"](*words, request.body, secret)


@pytest.mark.parametrize("name", ["avd", "mpaas", "aliyun_rtc", "anyrtc", "standard"])
def test_the_receivers_guide_verifies_what_we_send(name: str, checks: dict[str, Any]) -> None:
    """Each function takes what the hub signs, and nothing signed with another key."""
    request = sent(name)

    assert is_accepted(checks, name, request, SECRET)
    assert not is_accepted(checks, name, request, b"another secret")


def test_the_receivers_guide_takes_a_get(checks: dict[str, Any]) -> None:
    assert is_accepted(checks, "avd", sent("avd", method="GET"), SECRET)


def test_the_receivers_guide_takes_a_named_secret(checks: dict[str, Any]) -> None:
    """A `whsec_` secret stands for the bytes it holds."""
    secret = b"whsec_" + base64.b64encode(SECRET)

    assert is_accepted(checks, "standard", sent("standard", secret=secret), secret)


def test_the_receivers_guide_refuses_old_times(checks: dict[str, Any]) -> None:
    """Where a time is signed, the guide looks at it."""
    old = str(int(time.time()) - 3600)
    digest = hashlib.md5(f"a.test|{old}|".encode() + SECRET, usedforsecurity=False).hexdigest()

    assert not checks["is_aliyun_rtc"]("a.test", old, digest, SECRET)
    assert not checks["is_standard"]("id", old, "v1,AA==", b"", SECRET)


@pytest.mark.parametrize("name", sorted(all_dialects()))
def test_the_receivers_guide_says_each_policy(name: str) -> None:
    """Deadline and attempts in the guide are the dialect's."""
    dialect = all_dialects()[name]
    if not dialect.types:  # a wire that is only read
        return
    row = next(line for line in RECEIVING.read_text().splitlines() if line.startswith(f"| `{name}` |"))

    assert f"{dialect.retry.deadline.seconds} s, {dialect.retry.attempts} attempts" in row


def test_every_document_is_linked() -> None:
    """A page that nothing links to is a page nobody finds."""
    linked: set[Path] = set()
    for page in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text()):
            if not re.match(r"[a-z]+:", target):
                found = (page.parent / target).resolve()
                linked |= set(found.glob("*.md")) if found.is_dir() else {found}
    unlinked = [str(page.relative_to(ROOT)) for page in DOCUMENTS if page.name != "README.md" and page not in linked]

    assert unlinked == []


def test_the_vendors_pages_use_one_set_of_variables() -> None:
    """The first block of each "Point your client here" begins with the same lines, and no page has names of its own."""
    names = ("aliyun_cvc", "aliyun_rtc", "anyrtc", "avd", "eventbridge", "mpaas")
    texts = {name: (ROOT / "docs" / "vendors" / f"{name}.md").read_text() for name in names}
    first = {name: re.search(r"^```sh\n((?:export .*\n){3})", text, re.MULTILINE) for name, text in texts.items()}
    begun = {name: found and found[1] for name, found in first.items()}

    assert len(set(begun.values())) == 1, begun
    set_there = re.findall(r"^export (\w+)=", begun["avd"] or "", re.MULTILINE)
    assert set_there == ["NORTHBOUND_SERVER", "NORTHBOUND_API_KEY", "CALLBACK"]
    for name, text in texts.items():
        assert not re.search(r"RECEIVER|CALLBACK_URL|\bHUB\b", text), name
        read = set(re.findall(r"os\.environ(?:\.get\(|\[)\"(\w+)", text))
        assert read <= set(set_there) | set(re.findall(r"(?:export |\) )(\w+)=", text)), name

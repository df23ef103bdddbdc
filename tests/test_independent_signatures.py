"""The vendors' signatures in the vectors hold by code that shares nothing with the package."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("independent_signatures.py")
VECTORS = SCRIPT.parent.parent / "src" / "northbound" / "vectors"
VENDORS = ("avd", "aliyun_rtc", "aliyun_cvc", "mpaas", "anyrtc")


def start(*folder: str) -> subprocess.CompletedProcess[str]:
    """Run the script apart from this process, without its folder or the environment on the path."""
    command = [sys.executable, "-I", str(SCRIPT), *folder]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[str]:
    """Run it once over the shipped vectors."""
    return start()


def test_every_signed_vector_matches(run: subprocess.CompletedProcess[str]) -> None:
    """No mismatch, and no signed vector that the script cannot check."""
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_vendor_has_a_matched_signature(vendor: str, run: subprocess.CompletedProcess[str]) -> None:
    """A dialect whose vectors hold no signature would pass in silence."""
    if not (VECTORS / vendor).is_dir():
        pytest.skip(f"there are no vectors of {vendor} yet")
    counts = dict(re.findall(r"^(.+) (\d+) matched$", run.stdout, re.MULTILINE))

    assert int(counts.get(vendor, 0)) >= 1


def tampered(case: dict[str, Any]) -> dict[str, Any]:
    """Return *case* with another secret and another URL: one of the two is in every vendor's signature."""
    changed = case | ({"secret": "another"} if "secret" in case else {})
    return changed | (
        {"request": case["request"] | {"url": f"{case['request']['url']}&x=1"}} if "request" in case else {}
    )


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_tampered_vector_is_a_mismatch(vendor: str, tmp_path: Path) -> None:
    """The script can fail, for every vendor."""
    if not (VECTORS / vendor).is_dir():
        pytest.skip(f"there are no vectors of {vendor} yet")
    (tmp_path / vendor).mkdir()
    for path in sorted((VECTORS / vendor).glob("*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        file["cases"] = [tampered(case) for case in file["cases"]]
        (tmp_path / vendor / path.name).write_text(json.dumps(file), encoding="utf-8")

    ended = start(str(tmp_path))

    assert ended.returncode == 1
    assert "MISMATCH" in ended.stderr


def test_a_wire_that_the_script_does_not_know_is_told(tmp_path: Path) -> None:
    """A new dialect with signed vectors needs its rule here too."""
    (tmp_path / "new").mkdir()
    case = {"name": "one", "secret": "s", "proof": "content", "request": {"method": "POST", "url": "http://a.test/"}}
    (tmp_path / "new" / "one.json").write_text(json.dumps({"dialect": "new", "cases": [case]}), encoding="utf-8")

    ended = start(str(tmp_path))

    assert (ended.returncode, "does not know" in ended.stderr) == (1, True)


def test_the_script_imports_nothing_of_the_package() -> None:
    """Independence is the point."""
    imports = re.findall(r"^(?:from|import) +([\w.]+)", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    roots = {name.partition(".")[0] for name in imports}

    assert roots - set(sys.stdlib_module_names) == {"cryptography"}


def test_known_answers_are_all_computed(run: subprocess.CompletedProcess[str]) -> None:
    """The fixed vectors that others computed or published."""
    assert "known answers 13 matched" in run.stdout

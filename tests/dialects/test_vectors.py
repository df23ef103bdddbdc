"""Every shipped vector of every dialect holds the laws."""

from datetime import timedelta

import msgspec
import pytest

from northbound.dialects import all_dialects
from northbound.model.errors import SignatureError
from northbound.model.wire import Proof
from northbound.testing.vectors import Case, VectorFile, _keys, load, run_file

CASES = [pytest.param(name, file, case, id=f"{name}: {case.name}") for name, file in load() for case in file.cases]


def run(name: str, file: VectorFile, case: Case) -> list[str]:
    (outcome,) = run_file(name, msgspec.structs.replace(file, cases=[case]))
    return outcome.failures


@pytest.mark.parametrize(("name", "file", "case"), CASES)
def test_vector(name, file, case):
    """The case reads, answers, says and signs as it is written."""
    assert run(name, file, case) == []


def test_case_names_are_unique():
    """A failure names one case."""
    names = [param.id for param in CASES]

    assert len(set(names)) == len(names)


def test_a_vector_that_expects_otherwise_fails():
    """The runner does not pass by default: another room, another error, a flag without a note."""
    name, file = next((name, file) for name, file in load() if name == "avd/room.json")
    good = file.cases[0]
    other_room = msgspec.structs.replace(good, events=[{**good.events[0], "room_id": "other"}])
    refused = msgspec.structs.replace(good, result="invalid", error="signature")
    unexplained = msgspec.structs.replace(good, flags=["derived", "nobody-says"])

    failures = [run(name, file, case) for case in (good, other_room, refused, unexplained)]

    assert failures[0] == []
    assert all(failures[1:])


def after(off: timedelta, wire: str, case: Case) -> str:
    """Return what becomes of a fresh request when our clock is *off*."""
    request = case.request.request() if case.request is not None else None
    assert request is not None
    try:
        proof = all_dialects()[wire].verify(request, _keys(case.secret, case.keys), case.now + off, case.options)
    except SignatureError as error:
        return "refused" if "clock" in error.message else error.message
    return "fresh" if proof is Proof.FRESH else "graded"


@pytest.mark.parametrize("off", [timedelta(hours=-1), timedelta(hours=1)])
@pytest.mark.parametrize(
    ("wire", "expected"),
    [("aliyun_cvc", {"refused"}), ("anyrtc", {"graded", "refused"}), ("standard", {"refused"})],
)
def test_a_clock_that_is_an_hour_off_is_named_or_lowers_the_proof(wire: str, expected: set[str], off: timedelta):
    """S13: what was fresh is refused with a word about clocks, or kept and graded; never called a wrong key."""
    cases = [case for _, file in load() for case in file.cases if file.dialect == wire and case.proof is Proof.FRESH]

    assert {after(off, wire, case) for case in cases if case.result == "valid"} == expected

"""Every shipped vector of every dialect holds the laws."""

import msgspec
import pytest

from northbound.testing.vectors import Case, VectorFile, load, run_file

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

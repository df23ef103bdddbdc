"""The schema beside the vectors is what the runner reads, and every vector file names it."""

from pathlib import Path

import msgspec
import pytest

import vector_schema
from northbound.testing.vectors import Ack, Case, VectorFile, WireKey, WireRequest, load, vector_folder

STRUCTS = (VectorFile, Case, WireRequest, WireKey, Ack)
FILES = sorted(vector_folder().glob("*/*.json"))


def test_the_stored_schema_is_up_to_date():
    """Whoever changes what a vector may hold also writes the schema anew: `python tests/vector_schema.py`."""
    assert vector_schema.schema_text() == vector_schema.PATH.read_text()


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_member_is_in_the_schema_and_explained(struct):
    """The schema has exactly the members that the runner reads, each with a sentence."""
    members = vector_schema.make_schema()["$defs"][struct.__name__]["properties"]

    assert [field.encode_name for field in msgspec.structs.fields(struct)] == list(members)
    assert all(member["description"].endswith(".") for member in members.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_vector_file_names_the_schema(path: Path):
    """An editor finds the schema from any vector file."""
    named = msgspec.json.decode(path.read_bytes())["$schema"]

    assert vector_schema.PATH.resolve() == (path.parent / named).resolve()


def test_the_narrowed_members_hold_in_every_vector():
    """What the schema allows beyond types is what the vectors use."""
    narrowed = vector_schema.NARROWED
    for name, file in load():
        for case in file.cases:
            assert case.result in narrowed["Case", "result"]["enum"], name
            assert case.error in narrowed["Case", "error"]["enum"], name
            assert (case.request is None) != (case.event is None), f"{name}: {case.name}"

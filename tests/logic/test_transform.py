"""Bodies of targets: every vector of transforms.json, and what must hold for any event and any words (T5)."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.logic.transform import (
    JSON_TYPE,
    RESULT_MOST,
    TEXT_TYPE,
    VALUE_LONGEST,
    VARIABLES_MOST,
    check_body,
    shaped,
)
from northbound.model.app import Body, BodyForm
from northbound.model.errors import InvalidInput

VECTORS = json.loads(Path(__file__).with_name("transforms.json").read_text())
TYPES = {"json": JSON_TYPE, "text": TEXT_TYPE, None: None}
steady = settings(deadline=None, derandomize=True)


def long_or_as_is(given: Any) -> str:
    if isinstance(given, dict):
        return given.get("before", "") + given["repeat"] * given["times"]
    return given or ""


def body_of(vector: dict[str, Any]) -> Body:
    return Body(
        form=BodyForm(vector["form"]),
        value=long_or_as_is(vector.get("value")),
        template=long_or_as_is(vector.get("template")),
    )


def event_of(vector: dict[str, Any]) -> bytes:
    event = vector["event"]
    if isinstance(event, dict):
        event = json.dumps({name: "x" * words["repeat"] for name, words in event.items()})
    return event.encode()


def test_every_vector_has_a_name_and_names_its_rule() -> None:
    assert len(VECTORS) == len({vector["name"] for vector in VECTORS})
    assert all(vector["rule"] for vector in VECTORS)
    assert {vector["form"] for vector in VECTORS} == {form.value for form in BodyForm}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector(vector: dict[str, Any]) -> None:
    """A vector says what is sent, why one event cannot be, or why it is refused at save."""
    body = body_of(vector)
    if "refused" in vector:
        with pytest.raises(InvalidInput, match="(?s)" + vector["refused"].replace("$", r"\$")):
            check_body(body)
        return

    check_body(body)

    if "fails" in vector:
        with pytest.raises(InvalidInput, match="body cannot be made") as failed:
            shaped(event_of(vector), body)
        assert vector["fails"] in failed.value.message
        return
    made = shaped(event_of(vector), body)
    assert vector["body"] == made.body.decode()
    assert TYPES[vector["type"]] == made.content_type


def test_the_limits_themselves_are_inside() -> None:
    check_body(Body(form=BodyForm.CONSTANT, value="x" * VALUE_LONGEST))
    check_body(Body(form=BodyForm.JSONPATH, value="$" + ".a" * 16))
    check_body(
        Body(form=BodyForm.TEMPLATE, value=json.dumps({f"v{n}": "" for n in range(VARIABLES_MOST)}), template="x")
    )
    many = json.dumps({f"v{n}": "" for n in range(VARIABLES_MOST + 1)})
    with pytest.raises(InvalidInput, match="100 variables"):
        check_body(Body(form=BodyForm.TEMPLATE, value=many, template="x"))


@steady
@given(
    st.sampled_from(list(BodyForm)),
    st.text(max_size=40) | st.sampled_from(["$", "$.a", "$.a[0]", '{"a":"$.b"}']),
    st.text(max_size=40) | st.just("${a}${a}"),
    st.binary(max_size=60)
    | st.dictionaries(st.sampled_from("ab"), st.text(max_size=9)).map(json.dumps).map(str.encode),
)
def test_whatever_is_saved_ends_with_a_bounded_body_or_a_reason(
    form: BodyForm, value: str, template: str, event: bytes
) -> None:
    body = Body(form=form, value=value, template=template)
    with suppress(InvalidInput):
        check_body(body)
        assert len(shaped(event, body).body) <= max(RESULT_MOST, len(event))

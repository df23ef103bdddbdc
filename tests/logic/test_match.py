"""The pattern language: every vector of patterns.json, and what must hold for any pattern and any event."""

import ast
import contextlib
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.logic import match as match_module
from northbound.logic import operators as operators_module
from northbound.logic.match import (
    ANY_KEY,
    CLOUD_EVENT_KEYS,
    MAX_DEPTH,
    MAX_TEXT,
    MAX_WARNINGS,
    Pattern,
    compile_pattern,
    explain,
    pattern_warnings,
)
from northbound.logic.operators import MAX_VALUES
from northbound.model.errors import PatternError

VECTORS = json.loads(Path(__file__).with_name("patterns.json").read_text())
MATCHES = [vector for vector in VECTORS if "matches" in vector]
REFUSALS = [vector for vector in VECTORS if "refused" in vector]
steady = settings(deadline=None, derandomize=True)  # a busy machine is no failure
REASON = "Event pattern is not valid, reason: "

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
names = st.sampled_from([*sorted(CLOUD_EVENT_KEYS), "a", "b"])
events = st.dictionaries(names, values | st.dictionaries(st.sampled_from("ab"), values), max_size=6)
texts = st.sampled_from(["a", "b", "ab", "1", "true", "10.0.0.1"])
literals = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from([1.0, 0.5]) | texts
operators = st.one_of(
    st.fixed_dictionaries({}, optional={"prefix": texts, "suffix": texts, "contains": texts}).filter(bool),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"cidr": st.sampled_from(["10.0.0.0/8", "::1"])}),
    st.fixed_dictionaries({"anything-but": literals | st.lists(literals, min_size=1) | st.just({"prefix": "a"})}),
    st.fixed_dictionaries({"numeric": st.sampled_from([["=", 1], [">", 0, "<", 2]])}),
)
leaves = st.lists(literals | operators, min_size=1, max_size=4)
patterns = st.fixed_dictionaries(
    {},
    optional={
        "type": leaves,
        "source": leaves,
        "data": st.dictionaries(st.sampled_from("ab"), leaves, min_size=1),
    },
)
close_events = st.fixed_dictionaries(
    {},
    optional={
        "type": literals | st.lists(literals),
        "source": literals | st.lists(literals),
        "data": st.dictionaries(st.sampled_from("ab"), literals | st.lists(literals)),
    },
)


def text_of(vector: dict[str, Any]) -> str:
    if "long" in vector:
        words = vector["long"]
        return words["before"] + words["repeat"] * words["times"] + words["after"]
    return vector["pattern"] if isinstance(vector["pattern"], str) else json.dumps(vector["pattern"])


def compiled(vector: dict[str, Any]) -> Pattern:
    text = text_of(vector)
    keys = vector.get("keys")
    return compile_pattern(text, keys=ANY_KEY if keys == "any" else keys and frozenset(keys))


def test_every_vector_has_a_name_of_its_own() -> None:
    assert len(MATCHES) == len({vector["name"] for vector in MATCHES})
    assert len(REFUSALS) == len({vector["name"] for vector in REFUSALS})
    assert len(VECTORS) == len(MATCHES) + len(REFUSALS)


@pytest.mark.parametrize("vector", MATCHES, ids=lambda vector: vector["name"])
def test_vector_matches(vector: dict[str, Any]) -> None:
    """The vector's event matches its pattern or not, and the explanation agrees."""
    event = json.loads(vector["event"]) if isinstance(vector["event"], str) else vector["event"]

    pattern = compiled(vector)

    assert vector["matches"] is pattern.matches(event)
    assert vector["matches"] is explain(pattern, event).matched


@pytest.mark.parametrize("vector", REFUSALS, ids=lambda vector: vector["name"])
def test_vector_is_refused(vector: dict[str, Any]) -> None:
    """A wrong pattern is refused in the vendor's words with reason, place and remedy."""
    with pytest.raises(PatternError) as refused:
        compiled(vector)

    message = refused.value.message
    assert message.startswith(REASON)
    assert vector["refused"] in message
    assert f" at {refused.value.field}; " in message


# --- the vectors cover the code --------------------------------------------------------------------------------------


def test_every_vector_names_its_rule() -> None:
    assert [vector["name"] for vector in VECTORS if not vector.get("rule")] == []


def test_every_operator_has_vectors_that_match_do_not_and_miss() -> None:
    """A new operator cannot come without cases: one that holds, one that does not, one on a missing field."""
    seen: dict[str, set[bool]] = {}
    missing: set[str] = set()
    for vector in MATCHES:
        for condition in _leaves(json.loads(text_of(vector))):
            names = {name for element in condition if isinstance(element, dict) for name in element}
            for name in names if len(condition) == 1 else ():
                seen.setdefault(name, set()).add(vector["matches"])
                if "missing" in vector["name"]:
                    missing.add(name)

    assert set(operators_module._OPERATORS) == set(seen)
    assert {name for name, outcomes in seen.items() if outcomes != {True, False}} == set()
    assert {"exists", "anything-but"} <= missing
    for name in operators_module._OPERATORS:
        found = compile_pattern(json.dumps({"data": {"v": [OPERANDS[name]]}})).matches({"data": {}})
        assert found is (name == "exists"), "a missing field matches only exists false"


def test_every_comparison_has_vectors_below_at_and_above() -> None:
    for comparison in operators_module._COMPARISONS:
        names = {vector["name"] for vector in MATCHES}
        assert {f"numeric {comparison}, {place}" for place in ("below", "equal", "above")} <= names


def test_every_refusal_of_the_code_has_a_vector() -> None:
    """Each place that builds a refusal is reached by a case: a refusal without one fails here."""
    built = {place for module in (match_module, operators_module) for place in _refusals_in(module)}
    reached: set[tuple[str, int]] = set()
    for vector in REFUSALS:
        with pytest.raises(PatternError) as refused:
            compiled(vector)
        frames = traceback.extract_tb(refused.value.__traceback__)
        chain = refused.value.__context__
        while chain is not None:
            frames += traceback.extract_tb(chain.__traceback__)
            chain = chain.__context__
        reached |= {(Path(frame.filename).name, frame.lineno or 0) for frame in frames}

    with pytest.raises(ValueError, match="out of range") as refused_:  # the strict reader before it refuses them too
        operators_module.read_number("1e400")
    reached |= {
        (Path(frame.filename).name, frame.lineno or 0) for frame in traceback.extract_tb(refused_.value.__traceback__)
    }

    assert built
    assert {place for place in built if not any((place[0], line) in reached for line in place[1])} == set()


OPERANDS: dict[str, Any] = {
    "prefix": {"prefix": "a"},
    "suffix": {"suffix": "a"},
    "contains": {"contains": "a"},
    "anything-but": {"anything-but": "a"},
    "numeric": {"numeric": ["!=", 1]},
    "cidr": {"cidr": "0.0.0.0/0"},
    "exists": {"exists": False},
}


def _leaves(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)


def _refusals_in(module: Any) -> Iterator[tuple[str, range]]:
    """Yield the file and lines of every statement that refuses: `raise invalid(...)` or `raise ValueError(...)`."""
    path = Path(module.__file__)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            assert node.exc.func.id in {"invalid", "ValueError"}
            yield path.name, range(node.lineno, (node.end_lineno or node.lineno) + 1)


def test_bytes_are_read_as_utf8() -> None:
    assert compile_pattern('{"type":["会议"]}'.encode()).matches({"type": "会议"})

    with pytest.raises(PatternError, match="not valid JSON"):
        compile_pattern(b'{"type":["\xff"]}')


# --- limits (T4) -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps({"type": ["x" * MAX_TEXT]}), "too long"),
        (json.dumps({"type": ["会" * (MAX_TEXT // 2)]}, ensure_ascii=False), "too long"),
        (json.dumps({"type": [f"t{index}" for index in range(MAX_VALUES + 1)]}), "too many values"),
        (json.dumps({"type": [{"anything-but": list(range(MAX_VALUES + 1))}]}), "too many values"),
        ("[" * MAX_TEXT, "nested too deeply"),
        ('{"data":' * 1700 + "1" + "}" * 1700, "nested too deeply"),
        ('{"data":' * (MAX_DEPTH + 1) + "[1]" + "}" * (MAX_DEPTH + 1), "nested too deeply"),
        (f'{{"data":{{"v":[{"1" * 309}]}}}}', "more than 308 characters"),
        (f'{{"data":{{"v":[0.{"1" * 309}]}}}}', "more than 308 characters"),
    ],
)
def test_a_hostile_pattern_is_refused_at_save(text: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason) as refused:
        compile_pattern(text)

    assert len(refused.value.message) < 500


def test_the_limits_themselves_are_inside() -> None:
    deepest = '{"data":' * MAX_DEPTH + '["x"]' + "}" * MAX_DEPTH
    widest = json.dumps({"type": [f"t{index}" for index in range(MAX_VALUES)]})

    assert len(compile_pattern(deepest).conditions[0].path) == MAX_DEPTH
    assert compile_pattern(widest).matches({"type": f"t{MAX_VALUES - 1}"})


def test_data_in_text_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that is no JSON after all costs one look, however many fields the pattern names."""
    pattern = compile_pattern(json.dumps({"data": {f"f{index}": [{"exists": False}] for index in range(500)}}))
    looks: list[object] = []

    class Watched(dict[str, Any]):
        def get(self, *given: Any) -> Any:
            looks.append(given)
            return super().get(*given)

    assert pattern.matches(Watched(data="{" + "[" * 100_000))
    assert len(looks) == 1


# --- what the index is told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "types"),
    [
        ({}, None),
        ({"type": ["a", "b"]}, {"a", "b"}),
        ({"type": ["a", 300, True]}, {"a", "300", "true"}),
        ({"type": ["a", None]}, None),
        ({"type": ["a", {"prefix": "b"}]}, None),
        ({"type": [{"exists": False}]}, None),
        ({"data": {"type": ["a"]}}, None),
    ],
)
def test_the_exact_types_are_known(pattern: dict[str, Any], types: set[str] | None) -> None:
    assert types == compile_pattern(json.dumps(pattern)).types
    assert types == compile_pattern(json.dumps(pattern).replace('"type"', '"source"')).sources


@steady
@given(patterns, close_events)
def test_the_index_never_hides_a_match(words: dict[str, Any], event: dict[str, Any]) -> None:
    """A text that matches is among the exact types and sources, so that an index by them loses nothing."""
    pattern = compile_pattern(json.dumps(words))

    if pattern.matches(event):
        for name, only in (("type", pattern.types), ("source", pattern.sources)):
            assert only is None or not isinstance(event[name], str) or event[name] in only


# --- explanations and warnings ---------------------------------------------------------------------------------------


def test_an_explanation_tells_field_by_field() -> None:
    """Each field says what is wanted and what is there, in words."""
    pattern = compile_pattern(
        '{"data":{"n":[{"numeric":[">",0,"<=",5]}],"s":["x",{"prefix":"a","suffix":"b"}],"o":[1],"z":[{"exists":true}]},'
        '"type":["a",null]}'
    )

    explanation = explain(pattern, {"type": "a", "data": {"n": 9, "s": ["axb"], "o": {}}})

    told = [(finding.path, finding.wants, finding.has, finding.matched) for finding in explanation.findings]
    assert explanation.matched is False
    assert told == [
        ("$.type", '"a" or null', '"a"', True),
        ("$.data.n", "is a number > 0 and <= 5", "9", False),
        ("$.data.s", '"x" or begins with "a" and ends with "b"', '["axb"]', True),
        ("$.data.o", "1", "an object, which nothing matches", False),
        ("$.data.z", "exists", "nothing: the field is missing", False),
    ]


def test_a_registered_type_gives_no_warning() -> None:
    assert pattern_warnings(compile_pattern('{"source":["s"],"type":["a.b"]}'), {"a.b"}) == ()


def test_an_unregistered_type_names_the_nearest() -> None:
    """Ruling 13: accepted, with a warning."""
    pattern = compile_pattern('{"type":["x:MemberStatEvent","X:memberStateEvent",{"prefix":"y"}]}')

    first, second = pattern_warnings(pattern, frozenset({"x:MemberStateEvent", "x:MeetingStateEvent"}))

    assert '"x:MemberStatEvent" is not registered' in first
    assert 'nearest registered one is "x:MemberStateEvent"' in first
    assert "letter case" in second
    assert 'nearest registered one is "x:MemberStateEvent"' in second


@pytest.mark.parametrize("source", [["a", "b"], ["a", {"prefix": "b"}], ["a", None]])
def test_more_than_one_source_warns(source: list[Any]) -> None:
    """Ruling 13: the page wants an array of exactly one."""
    (warning,) = pattern_warnings(compile_pattern(json.dumps({"source": source})), ())

    assert "source names more than one element" in warning


def test_another_spelling_is_registered_and_says_by_which_events_are_told() -> None:
    """Ruling 13: both letter cases of the page are registered, and types are compared in exact letter case."""
    other = {"x:memberEvent": "x:MemberEvent"}
    (warning,) = pattern_warnings(compile_pattern('{"type":["x:memberEvent"]}'), {"x:MemberEvent"}, other)

    assert "not registered" not in warning
    assert 'another spelling of "x:MemberEvent"' in warning
    both = compile_pattern('{"type":["x:memberEvent","x:MemberEvent"]}')
    assert pattern_warnings(both, {"x:MemberEvent"}, other) == ()


def test_warnings_are_bounded() -> None:
    pattern = compile_pattern(json.dumps({"type": [f"t{index}" for index in range(MAX_VALUES)]}))

    warnings = pattern_warnings(pattern, {"a", "b"})

    assert len(warnings) == MAX_WARNINGS + 1
    assert warnings[-1].startswith(f"{MAX_VALUES - MAX_WARNINGS} more types")


# --- what holds for anything -----------------------------------------------------------------------------------------


@steady
@given(events)
def test_the_empty_pattern_matches_everything(event: dict[str, Any]) -> None:
    assert compile_pattern("{}").matches(event)


@steady
@given(patterns, events | close_events)
def test_explanations_agree_and_nothing_raises(words: dict[str, Any], event: dict[str, Any]) -> None:
    pattern = compile_pattern(json.dumps(words))

    assert pattern.matches(event) is explain(pattern, event).matched


@steady
@given(values | patterns, st.sampled_from([None, ANY_KEY]))
def test_arbitrary_json_compiles_or_is_refused(words: Any, keys: frozenset[str] | None) -> None:
    with contextlib.suppress(PatternError):
        compile_pattern(json.dumps(words), keys=keys)


@steady
@given(st.text() | st.binary() | st.text(alphabet='{}[]",:tyepdat1'))
def test_arbitrary_text_compiles_or_is_refused(text: str | bytes) -> None:
    with contextlib.suppress(PatternError):
        compile_pattern(text)


@steady
@given(patterns, patterns, close_events)
def test_alternatives_only_widen(one: dict[str, Any], other: dict[str, Any], event: dict[str, Any]) -> None:
    """A field that takes the elements of both patterns takes whatever either takes."""
    both = {key: [*one[key], *other[key]] for key in ("type", "source") if key in one and key in other}
    narrow = {key: one[key] for key in both}

    with contextlib.suppress(PatternError):  # five expressions at most
        assert compile_pattern(json.dumps(both)).matches(event) >= compile_pattern(json.dumps(narrow)).matches(event)

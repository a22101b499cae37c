import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.dev.sandbox.patches import PatchConflictError, PatchError, json_patch, merge_patch
from smartops.dev.sandbox.strategic import strategic_merge

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc/~"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_is_as_rfc_7386_says(document: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(document, patch) == expected


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        ([1, 2], [{"op": "replace", "path": "/1", "value": 3}], [1, 3]),
        ({"a": 1}, [{"op": "replace", "path": "", "value": [2]}], [2]),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"thud": "fred"}},
        ),
        (["a", "b", "c"], [{"op": "move", "from": "/0", "path": "/2"}], ["b", "c", "a"]),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a"}], {}),
        ({"~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"~1": 10}),
        ({"a/b": 1}, [{"op": "remove", "path": "/a~1b"}], {}),
        ({"foo": None}, [{"op": "test", "path": "/foo", "value": None}], {"foo": None}),
    ],
)
def test_a_json_patch_is_as_rfc_6902_says(document: Any, operations: Any, expected: Any) -> None:
    assert json_patch(document, operations) == expected


def test_a_json_patch_may_replace_what_is_not_there_as_on_an_api_server() -> None:
    assert json_patch({"a": 1}, [{"op": "replace", "path": "/b", "value": 2}]) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ({"op": "add"}, PatchError),
        ([1], PatchError),
        ([{"op": "add", "path": "/a"}], PatchError),
        ([{"op": "add", "path": "a", "value": 1}], PatchError),
        ([{"op": "grow", "path": "/a", "value": 1}], PatchError),
        ([{"op": "add", "path": "/list/01", "value": 1}], PatchError),
        ([{"op": "move", "from": "/map", "path": "/map/inner"}], PatchError),
        ([{"op": "add", "path": "/list/9", "value": 1}], PatchConflictError),
        ([{"op": "remove", "path": "/none"}], PatchConflictError),
        ([{"op": "add", "path": "/none/inner", "value": 1}], PatchConflictError),
        ([{"op": "add", "path": "/number/inner", "value": 1}], PatchConflictError),
        ([{"op": "test", "path": "/number", "value": True}], PatchConflictError),
        ([{"op": "test", "path": "/list/0", "value": 2}], PatchConflictError),
    ],
)
def test_a_json_patch_that_cannot_be_applied_says_whose_fault_it_is(operations: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        json_patch({"number": 1, "list": [1], "map": {}}, operations)


@given(JSON, JSON)
def test_a_merge_patch_twice_is_the_same_as_once_and_leaves_its_input_alone(document: Any, patch: Any) -> None:
    before = copy.deepcopy((document, patch))
    once = merge_patch(document, patch)
    assert (document, patch) == before
    assert merge_patch(once, patch) == once


@given(st.dictionaries(st.sampled_from("abc/~"), JSON, min_size=1), JSON)
def test_a_json_patch_can_test_and_remove_the_value_that_it_adds(document: dict[str, Any], value: Any) -> None:
    before = copy.deepcopy(document)
    for key in document:
        path = "/" + key.replace("~", "~0").replace("/", "~1")
        new = json_patch(
            document, [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]
        )
        assert new == document | {key: value}
        assert key not in json_patch(new, [{"op": "remove", "path": path}])
    assert document == before


A, B, C = ({"name": name, "image": "1"} for name in "abc")
B2 = {"name": "b", "image": "2"}
PORT, NAMED, OTHER = {"containerPort": 1}, {"containerPort": 1, "name": "x"}, {"containerPort": 2}
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {}}
ORDER = "$setElementOrder/containers"


@pytest.mark.parametrize(
    ("original", "patch", "expected"),
    [
        ({"x": {"y": 1}}, {"x": {"z": 2, "y": None}}, {"x": {"z": 2}}),
        ({"containers": [A, B]}, {"containers": [B2]}, {"containers": [A, B2]}),
        ({"containers": [A]}, {"containers": [B]}, {"containers": [B, A]}),
        ({"containers": [A, B]}, {"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [B]}),
        ({"containers": [A, B]}, {"containers": [C, {"$patch": "replace"}]}, {"containers": [C]}),
        ({"containers": [A]}, {"containers": [{"name": "a", "image": None}]}, {"containers": [{"name": "a"}]}),
        ({"args": ["a", "b"]}, {"args": ["c"]}, {"args": ["c"]}),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}),
        ({"ports": [PORT]}, {"ports": [NAMED, OTHER]}, {"ports": [NAMED, OTHER]}),
        ({"ports": [{"port": 80, "x": 1}]}, {"ports": [{"port": 80, "x": 2}]}, {"ports": [{"port": 80, "x": 2}]}),
        (
            {"finalizers": ["a", "b"]},
            {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
            {"finalizers": ["c", "b"]},
        ),
        (
            {"containers": [A, B]},
            {ORDER: [{"name": "c"}, {"name": "a"}], "containers": [C]},
            {"containers": [C, A, B]},
        ),
        ({"containers": [A, B]}, {ORDER: [{"name": "b"}], "containers": []}, {"containers": [A, B]}),
        ({"s": ROLLING}, {"s": {"$retainKeys": ["type"], "type": "Recreate"}}, {"s": {"type": "Recreate"}}),
        ({"m": {"a": 1}}, {"m": {"$patch": "replace", "b": 2}}, {"m": {"b": 2}}),
        ({"m": {"a": 1}, "n": 1}, {"m": {"$patch": "delete"}}, {"n": 1}),
        ({}, {"volumes": [{"name": "v"}]}, {"volumes": [{"name": "v"}]}),
    ],
)
def test_a_strategic_merge_patch_knows_its_lists(original: Any, patch: Any, expected: Any) -> None:
    before = copy.deepcopy((original, patch))
    assert strategic_merge(original, patch) == expected
    assert (original, patch) == before


@pytest.mark.parametrize(
    "patch",
    [
        {"containers": [{"image": "nameless"}]},
        {"containers": [1]},
        {"$patch": "shuffle"},
        {"x": {"$retainKeys": "all"}},
    ],
)
def test_a_senseless_strategic_merge_patch_is_refused(patch: Any) -> None:
    with pytest.raises(PatchError):
        strategic_merge({"containers": [A], "x": {}}, patch)


@given(st.dictionaries(st.sampled_from("abc"), JSON), st.dictionaries(st.sampled_from("abc"), JSON))
def test_a_strategic_merge_without_keyed_lists_is_a_merge_patch(document: Any, patch: Any) -> None:
    assert strategic_merge(document, patch) == merge_patch(document, patch)

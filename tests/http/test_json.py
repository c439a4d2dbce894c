"""JSON that two readers could understand differently is refused; what is stored is returned exactly."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.http.callers import Caller, Response, message

Send = Callable[[Caller, bytes], Response]


def to_create(caller: Caller, members: bytes) -> Response:
    return caller.create_raw(b'{"userId":"someone",%b}' % members)


def to_update(caller: Caller, members: bytes) -> Response:
    return caller.update_raw(caller.new_session(), b"{%b}" % members)


def to_extend(caller: Caller, members: bytes) -> Response:
    return caller.extend_raw(caller.new_session(), b"{%b}" % members)


every_body = pytest.mark.parametrize("send", [to_create, to_update, to_extend], ids=lambda send: send.__name__)


@every_body
@pytest.mark.parametrize(
    "members",
    [
        b'"a":1,',
        b'"a":1 "b":2',
        b'"a"',
        b"a:1",
        b"'a':1",
        b'"a":undefined',
        b'"a":True',
        b'"a":nulL',
        b'"a":[1,]',
        b'"a":[1 2]',
        b'"a":[',
        b'"a":1}{"b":2',
        b'"a":1}}',
        b'"a":1} x {',
        b'"a":1 /* why */',
        b'"a":01',
        b'"a":+1',
        b'"a":.5',
        b'"a":1.',
        b'"a":1e',
        b'"a":0x10',
        b'"a":1_000',
        b'"a":-',
        b'"a":NaN',
        b'"a":[Infinity]',
        b'"a":-Infinity',
        b'"a":"\t"',
        b'"a":"\n"',
        b'"a":"\0"',
        b'"a":"\\x41"',
        b'"a":"\\u12"',
        b'"a":"\\"',
        b'"a":1\x0b',
        b'"a":1\xc2\xa0',
        b"\xe2\x80\xa8",
    ],
)
def test_invalid_json_is_400(caller: Caller, send: Send, members: bytes) -> None:
    assert send(caller, members).error == (400, "INVALID_JSON")


@every_body
@pytest.mark.parametrize(
    "text",
    [
        b"\\ud800",
        b"\\udc00",
        b"\\uDBFF x",
        b"\\ud800\\u0041",
        b"\\udc00\\ud800",
        b"\\ud800\\ud800\\udc00",
        b"\xed\xa0\x80",
        b"\xed\xb0\x80",
        b"\xff",
        b"\xc3",
        b"\xc0\x80",
        b"\xe0\x80\xaf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\x80",
        b"caf\xe9",
    ],
)
def test_a_lone_surrogate_and_invalid_utf8_are_400(caller: Caller, send: Send, text: bytes) -> None:
    for members in (
        b'"a":"%b"',
        b'"%b":1',
        b'"metadata":{"a":["%b"]}',
        b'"newMessages":[{"role":"user","content":"%b"}]',
    ):
        assert send(caller, members % text).error == (400, "INVALID_JSON")


@pytest.mark.parametrize("body", [b'{"userId":"\\ud800"}', b'{"userId":"\\uDBFFx"}', b'{"a":["\\ud800"]} '])
def test_half_a_surrogate_pair_at_the_end_is_not_reported_as_truncated(caller: Caller, body: bytes) -> None:
    assert "surrogate pair" in caller.create_raw(body).problem["detail"]
    assert "truncated" in caller.create_raw(body[: body.index(b"u") + 3]).problem["detail"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_and_other_encodings_are_400(caller: Caller, encoding: str) -> None:
    body = '{"userId":"someone"}'.encode(encoding)
    assert caller.create_raw(body).error == (400, "INVALID_JSON")
    assert caller.extend_raw(caller.new_session(), "{}".encode(encoding)).status == 400


@pytest.mark.parametrize(
    "body", [b"", b"  \r\n\t", b"null", b"[]", b"[{}]", b'"text"', b"1", b"true", b"{", b"}", b"\0"]
)
def test_a_body_that_is_not_an_object_is_400(caller: Caller, body: bytes) -> None:
    assert caller.create_raw(body).status == 400
    assert caller.create_raw(body).problem["code"] in {"INVALID_JSON", "INVALID_REQUEST"}


DUPLICATES = [
    b'"a":1,"a":1',
    b'"a":1,"b":2,"a":3',
    b'"a" :1,"a":2',
    b'"a"\t:1,"a"\n: 2',
    b'"a":1,"\\u0061":2',
    b'"":1,"":2',
    b'"\xc3\xa9":1,"\\u00e9":2',
    b'"\\ud83d\\udcac":1,"\xf0\x9f\x92\xac":2',
    b'"a\\/b":1,"a/b":2',
    b'"x":{"a":1,"a":2}',
    b'"x":[0,[{"a":1},{"b":1,"b":null}]]',
    b'"x":{"y":{"z":{"a":[],"a":[]}}}',
    b'"metadata":{},"metadata":{}',
    b'"metadata":{"a":1,"a":1}',
    b'"metadata":{"a":{"b":1,"b":2}}',
    b'"metadata":{"a":"\\":","b":1,"b":2}',
    b'"metadata":{"a":"\\":\\":\\":","b":1,"b":2}',
    b'"newMessages":[{"role":"user","content":"a","content":"a"}]',
    b'"initialMessages":[{"role":"user","role":"user","content":"a"}]',
    b'"additionalMinutes":5,"additionalMinutes":6',
    b'"title":"a","title":"a"',
]


@every_body
@pytest.mark.parametrize("members", DUPLICATES)
def test_a_duplicate_key_is_400_at_any_depth(caller: Caller, send: Send, members: bytes) -> None:
    assert send(caller, members).error == (400, "INVALID_JSON")


@every_body
def test_a_duplicate_key_is_found_under_sixty_levels(caller: Caller, send: Send) -> None:
    assert send(caller, b'"x":' + b"[" * 60 + b'{"a":1,"a":2}' + b"]" * 60).error == (400, "INVALID_JSON")


def test_a_duplicate_user_is_400(caller: Caller) -> None:
    assert caller.create_raw(b'{"userId":"a","userId":"a"}').error == (400, "INVALID_JSON")


@every_body
@pytest.mark.parametrize(
    "members",
    [
        b'"x":{"a":1},"y":{"a":1}',
        b'"x":[{"a":1},{"a":2}]',
        b'"a":1,"A":2,"\xc3\xa9":3,"e\xcc\x81":4',
        b'"x":"\\"a\\":1,\\"a\\":1"',
        b'"a" : {"b" : "\\" : \\":"}, "b" : ["a:", ":", "\\":"]',
        b'"a\\":":1,"a":2',
        b'"a":1,"a\\u0000":2,"\\u0000":3,"":4',
    ],
)
def test_equal_keys_in_different_objects_and_quotes_in_strings_are_valid(
    caller: Caller, send: Send, members: bytes
) -> None:
    assert send(caller, members).status in {200, 201}


EXACT = [
    "0",
    "-1",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "-9223372036854775808",
    "0.1",
    "0.5",
    "-1.5",
    "3.141592653589793",
    "1e+100",
    "5e-324",
    "1.7976931348623157e+308",
    "[1, 1.0, 1e2, -0.0]",
]


@pytest.mark.parametrize("number", EXACT)
def test_a_number_in_metadata_and_messages_comes_back_exactly(caller: Caller, number: str) -> None:
    body = '{"userId":"a","metadata":{"n":%s},"initialMessages":[{"role":"user","content":[{"n":%s}],"n":%s}]}'
    response = caller.create_raw((body % (number, number, number)).encode())
    assert response.status == 201
    session = caller.read(response.json["sessionId"])
    (stored,) = session["messages"]
    (listed,) = caller.list().json
    for back in (session["metadata"]["n"], listed["metadata"]["n"], stored["n"], stored["content"][0]["n"]):
        assert repr(back) == repr(json.loads(number))


@pytest.mark.parametrize(
    "number",
    [
        "18446744073709551616",
        "-9223372036854775809",
        "1" + "0" * 30,
        "-" + "9" * 100,
        "9" * 5_000,
        "1" + "0" * 400,
        "1e309",
        "-1e309",
        "1e400",
        "1e999999999",
        "1" + "0" * 400 + ".0",
        "[[18446744073709551616]]",
    ],
    ids=lambda number: number[:25],
)
def test_a_number_out_of_range_is_400_everywhere(caller: Caller, number: str) -> None:
    for member in (
        '"metadata":{"n":%s}',
        '"metadata":{"n":[{"m":[%s]}]}',
        '"newMessages":[{"role":"user","content":"a","n":%s}]',
        '"unknown":%s',
        '"tokensUsed":%s',
    ):
        response = to_update(caller, (member % number).encode())
        assert response.status == 400, member
        assert response.problem["code"] in {"INVALID_JSON", "INVALID_REQUEST"}


def test_a_number_between_two_doubles_is_rounded_to_the_nearest(caller: Caller) -> None:
    response = to_create(caller, b'"metadata":{"a":0.1000000000000000055511151231257827,"b":1E2}')
    assert caller.read(response.json["sessionId"])["metadata"] == {"a": 0.1, "b": 100.0}
    assert math.isfinite(caller.read(response.json["sessionId"])["metadata"]["b"])


HARD = [f"{number % 9 + 1}.234567890123{number:07}e-{number % 40 + 270}" for number in range(9_000)]


def test_many_slow_numbers_are_decoded_like_few(caller: Caller) -> None:
    few, many = HARD[:20], HARD
    response = caller.create_raw(
        f'{{"userId":"a","unknown":[{",".join(many)}],"metadata":{{"n":[{",".join(few)}]}}}}'.encode()
    )
    read = caller.read(response.json["sessionId"])["metadata"]["n"]
    assert [repr(number) for number in read] == [repr(float(number)) for number in few]
    too_large = caller.create_raw(f'{{"userId":"a","unknown":[{",".join(many)},1e999]}}'.encode())
    assert too_large.error == (400, "INVALID_JSON")
    too_many = caller.create_raw(f'{{"userId":"a","unknown":[{",".join(many * 5)}]}}'.encode())
    assert too_many.error == (400, "INVALID_REQUEST")
    texts = caller.create_raw(f'{{"userId":"a","unknown":"{",".join(many * 5)}"}}'.encode())
    assert texts.status == 201


def arrays(depth: int, innermost: bytes) -> bytes:
    return b"[" * depth + innermost + b"]" * depth


def objects(depth: int, innermost: bytes) -> bytes:
    return b'{"a":' * depth + innermost + b"}" * depth


def mixed(depth: int, innermost: bytes) -> bytes:
    for level in range(depth):
        innermost = b"[%b]" % innermost if level % 2 else b'{"a":%b}' % innermost
    return innermost


@pytest.mark.parametrize("nested", [arrays, objects, mixed], ids=lambda nested: nested.__name__)
@pytest.mark.parametrize(
    ("innermost", "own"), [(b"1", 0), (b'"a"', 0), (b"null", 0), (b"[]", 1), (b"{}", 1), (b'[{"a":1},2]', 2)]
)
@pytest.mark.parametrize(
    "member", [b'"unknown":%b', b'"metadata":{"a":%b}', b'"newMessages":[{"role":"user","content":"a","a":%b}]']
)
def test_a_body_is_nested_64_levels_deep_and_no_deeper(
    caller: Caller, nested: Callable[[int, bytes], bytes], innermost: bytes, own: int, member: bytes
) -> None:
    around = 1 + member.count(b"{") + member.count(b"[")
    assert to_update(caller, member % nested(64 - around - own, innermost)).status == 200
    assert to_update(caller, member % nested(65 - around - own, innermost)).error == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("nested", [arrays, objects, mixed], ids=lambda nested: nested.__name__)
@every_body
def test_a_very_deeply_nested_body_is_400(caller: Caller, send: Send, nested: Callable[[int, bytes], bytes]) -> None:
    for depth in (1_000, 5_000):
        assert send(caller, b'"a":%b' % nested(depth, b"1")).error == (400, "INVALID_REQUEST")
    assert send(caller, b'"a":%b' % (b"[" * 200_000)).status == 400
    assert send(caller, b'"a":%b' % arrays(200_000, b"")).status == 400


def test_metadata_nested_64_levels_deep_comes_back(caller: Caller) -> None:
    value: Any = json.loads(mixed(60, b"[]"))
    session_id = caller.new_session(metadata={"deep": value}, initialMessages=[message("a", deep=value)])
    session = caller.read(session_id)
    assert session["metadata"] == {"deep": value}
    assert session["messages"][0]["deep"] == value


@pytest.mark.parametrize("text", ["\0", "a\0", "\0a"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: {text: 1},
        lambda text: {"a": text},
        lambda text: {"a": [{"b": [text]}]},
        lambda text: {"a": {text: None}},
        lambda text: {text: None},
    ],
)
def test_metadata_must_not_contain_nul(caller: Caller, text: str, wrap: Callable[[str], dict[str, Any]]) -> None:
    response = caller.create(metadata=wrap(text))
    assert response.error == (400, "INVALID_REQUEST")
    assert response.pointers == ["/metadata"]
    assert caller.update(caller.new_session(), metadata=wrap(text)).pointers == ["/metadata"]


def test_metadata_may_contain_any_other_text(caller: Caller) -> None:
    metadata = {
        "\x01\n\x7f\x9f": "\x01\x1f",
        "\\u0000": "\\u0000 \\\\u0000",
        "💬": "\U0010ffff\ufffe",
        "": "",
        "__proto__": {},
    }
    session_id = caller.new_session(metadata=metadata)
    assert caller.read(session_id)["metadata"] == metadata
    caller.update(session_id, metadata={"more": metadata})
    assert caller.read(session_id)["metadata"] == {**metadata, "more": metadata}
    assert caller.list().json[0]["metadata"] == {**metadata, "more": metadata}


CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))]


@pytest.mark.parametrize("field", ["userId", "sessionGroup", "model", "title"])
def test_names_and_titles_must_not_contain_control_characters(caller: Caller, field: str) -> None:
    for control in CONTROLS:
        for text in (control, f"a{control}", f"{control}a", f"a{control}a"):
            assert caller.create(**{field: text}).pointers == [f"/{field}"], repr(text)


@pytest.mark.parametrize("field", ["userId", "sessionGroup", "model", "title"])
@pytest.mark.parametrize(
    "text", [" ", "\xa0", "\u2028", "\u200b", "\ufeff", "💬", "a'b\"c\\d", "%00", "null", "\ufffe"]
)
def test_names_and_titles_may_contain_any_other_text(caller: Caller, field: str, text: str) -> None:
    name = {"userId": "user_id", "sessionGroup": "session_group"}.get(field, field)
    assert caller.read(caller.new_session(**{field: text}))[name] == text


VALUES = 100_000


def filled(start: bytes, unit: bytes, end: bytes, count: int) -> bytes:
    """Make a body of so many units; the last byte of a unit is the comma before the next."""
    return (start + unit * count)[:-1] + end


@pytest.mark.parametrize(
    ("start", "unit", "end"),
    [
        (b'{"a":[', b"[],", b"]}"),
        (b'{"a":[', b'{"a" :1},', b"]}"),
        (b'{"a":[', b"1,", b"]}"),
        (b'{"a":[', b"1.5,", b"]}"),
        (b'{"a":[', b'"",', b"]}"),
        (b'{"a":[', b'"\\"",', b"]}"),
        (b'{"a":[', b"[[[[[[[[1]]]]]]]],", b"]}"),
        (b"{", b'"a":1,', b"}"),
        (b'{"newMessages":[', b"{},", b"]}"),
        (b'{"newMessages":[{"role":"user","content":[', b"{},", b"]}]}"),
        (b'{"metadata":{"a":[', b"null,", b"]}}"),
        (b"[", b"1,", b"]"),
        (b"", b"[,", b""),
    ],
)
def test_a_body_of_too_many_values_is_400_before_it_is_decoded(
    caller: Caller, start: bytes, unit: bytes, end: bytes
) -> None:
    session_id = caller.new_session()
    before = caller.get(session_id).body
    most = (8 * 1024 * 1024 - 100) // len(unit)
    for count in (VALUES + 1, most):
        response = caller.update_raw(session_id, filled(start, unit, end, count))
        assert response.error == (400, "INVALID_REQUEST")
        assert response.problem["detail"] == "The body holds more than 100000 values."
    assert caller.get(session_id).body == before


def test_a_body_may_hold_a_hundred_thousand_values(caller: Caller) -> None:
    session_id = caller.new_session()
    for unit in (b"1,", b'"x",', b"12345678901,"):
        assert caller.update_raw(session_id, filled(b'{"a":[', unit, b"]}", VALUES - 2)).status == 200
        assert caller.update_raw(session_id, filled(b'{"a":[', unit, b"]}", VALUES + 1)).status == 400
    assert caller.update_raw(session_id, filled(b'{"a":[', b'{"a" :1},', b"]}", VALUES // 2 - 2)).status == 200


@pytest.mark.parametrize("text", [",", "[", '{"', '\\"', "\\", '":', '\\":,[{', '" :', "9", '"a":1,"a":2,'])
def test_the_contents_of_strings_are_not_counted(caller: Caller, text: str) -> None:
    session_id = caller.new_session()
    whole = text * (400_000 // len(text))
    assert caller.update(session_id, newMessages=[message(whole)] * 2).status == 200
    assert [stored["content"] for stored in caller.read(session_id)["messages"]] == [whole] * 2


@pytest.mark.parametrize("digits", [384, 4_000, 5_000, 1_000_000])
def test_a_very_long_integer_is_400(caller: Caller, digits: int) -> None:
    session_id = caller.new_session()
    number = b"1" * digits
    for members in (b'"a":%b', b'"a":-%b', b'"a":[1,%b]', b'"a":%b ', b'"userId":"a","b":[%b]', b'"b":"\\"","a":%b'):
        response = caller.update_raw(session_id, b"{%b}" % (members % number))
        assert response.error in {(400, "INVALID_REQUEST"), (400, "INVALID_JSON")}, members


@pytest.mark.parametrize("number", ["0.{}", "1.{}e-5", "-0.{}E+1", "1e-{zeros}1", "1E{zeros}1", "1e+{zeros}1"])
def test_a_double_may_have_any_number_of_digits(caller: Caller, number: str) -> None:
    session_id = caller.new_session()
    for length in (300, 1_000, 200_000):
        written = number.format("1" * length, length=length, zeros="0" * length)
        body = b'{"a":%b}' % written.encode()
        assert caller.update_raw(session_id, body).status == 200, number


def test_a_duplicate_key_is_found_in_a_long_body(caller: Caller) -> None:
    session_id = caller.new_session()
    for text in ("x", '":', '\\" :', ":"):
        for pair in (b'"a":1,"a":2', b'"a" :1,"\\u0061":2', b'"":[],"" : {}'):
            stored = json.dumps(message(text * 60_000)).encode()
            body = b'{"newMessages":[%b],"b":{%b}}' % (stored, pair)
            assert caller.update_raw(session_id, body).error == (400, "INVALID_JSON")
    assert caller.read(session_id)["messages"] == []

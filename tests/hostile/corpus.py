"""A corpus of inputs: JSON values, bodies, parts of paths and queries, and headers."""

import json
from collections.abc import Iterator
from typing import Final

TEXTS: Final = {
    "empty": "",
    "nul": "a\0b",
    "only nul": "\0",
    "controls": "".join(map(chr, range(1, 0x20))) + "\x7f\x80\x9f",
    "right to left": "\u202eabc\u202c \u0627\u0644\u0639 \u05d0\u05d1 \u200f\u2066x\u2069",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff",
    "combining": "e\u0301\u0301\u0301 \u00e9 " + "\u0300" * 50,
    "joined": "\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308",
    "no characters": "\ufffe\uffff\U0001fffe\U0010ffff\ufdd0",
    "line ends": "a\u2028b\u2029c\u0085d",
    "case": "\u0130\u0131\u1e9e\ufb01",
    "sql": "'; DROP TABLE sessions; -- \" OR 1=1 \\' %' ESCAPE '\\",
    "markup": "</script><svg onload=alert(1)>{{7*7}}${x}<!--",
    "formats": "%s%n%x {0} {__class__} $1 \\1",
    "paths": "../../etc/passwd\\..\\%2e%2e%2f%00",
    "json": '{"a":1}","b":"\\u0000',
    "escapes": "\\u0000 \\\\ \\ud800 \\x00",
    "prototype": "__proto__",
    "constructor": "constructor",
    "spaces": " \u00a0\u3000 ",
    "words": "null",
    "a role": "user",
    "longest name": "\U0001f4ac" * 256,
    "too long a name": "\U0001f4ac" * 513,
    "a megabyte": "x" * 1_000_000,
}

NUMBERS: Final = [
    *("0", "-0", "-0.0", "1", "60.0", "6e1", "0.1", "1e-400", "5e-324", "1.7976931348623157e308", "1e400", "-1e400"),
    *("1e99999999", "-1e-99999999", "NaN", "Infinity", "-Infinity", "1" * 400, "0x10", "01", "1_0", "+1", "1."),
    *(str(each) for power in (31, 53, 63, 64) for base in (2**power,) for each in (base - 1, base, base + 1, -base)),
    *(str(-(2**63) - 1), "3.141592653589793238462643383279"),
]

CONTAINERS: Final = {
    "empty object": b"{}",
    "empty array": b"[]",
    "a message": b'{"role":"user","content":"a"}',
    "empty keys": b'{"":{"":{"":[""]}}}',
    "prototype-like": b'{"__proto__":{"a":1},"constructor":{"prototype":{"b":[]}},"toString":null,"hasOwnProperty":1}',
    "reserved keys": b'{"id":"x","created_at":"x","organisation":"x","role":"x","$ref":"#","@type":"x"}',
    "hostile keys": b'{"\\u202e":1,"\\u200b":2,"a.b":3,"$where":4,"a b":5,"\\ud83d\\udcac":6,"\\u0001":7}',
    "nul key": b'{"\\u0000":1}',
    "twice": b'{"a":1,"a":2}',
    "twice by an escape": b'{"a":1,"\\u0061":2}',
    "twice prototype": b'{"__proto__":1,"__proto__":2}',
    "twice empty": b'{"":1,"":1}',
    "deep": b"[" * 50 + b"]" * 50,
    "too deep": b'{"a":' * 70 + b"1" + b"}" * 70,
    "far too deep": b"[" * 100_000 + b"]" * 100_000,
    "mixed": b'[null,true,false,0,-0.0,"",[],{}]',
}

NO_TEXTS: Final = {
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"a\\udc00"',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "surrogate as bytes": b'"\xed\xa0\x80"',
    "overlong slash": b'"\xc0\xaf"',
    "overlong nul": b'"\xc0\x80"',
    "past the end": b'"\xf4\x90\x80\x80"',
    "five bytes": b'"\xf8\x88\x80\x80\x80"',
    "cut short": b'"\xe2\x82"',
    "latin": b'"caf\xe9"',
    "bare nul": b'"\x00"',
    "bare line end": b'"\n"',
    "half an escape": b'"\\u12"',
    "mark inside": b'"\xef\xbb\xbfa"',
}


def values() -> Iterator[tuple[str, bytes]]:
    """Yield every value by its name, encoded as JSON or as something similar."""
    for name, text in TEXTS.items():
        yield name, json.dumps(text).encode()
        if not text.isascii():
            yield f"{name}, unescaped", json.dumps(text, ensure_ascii=False).encode()
    yield from ((number[:30], number.encode()) for number in NUMBERS)
    yield from ((word, word.encode()) for word in ("null", "true", "false", "undefined", ""))
    yield from CONTAINERS.items()
    yield from NO_TEXTS.items()


BODIES: Final = {
    "nothing": b"",
    "a mark first": b'\xef\xbb\xbf{"userId":"ada"}',
    **{coding: '{"userId":"ada"}'.encode(coding) for coding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7")},
    "nul behind": b'{"userId":"ada"}\0',
    "two": b'{"userId":"ada"}{"userId":"bea"}',
    "a comma behind": b'{"userId":"ada",}',
    "a comment": b'{"userId":"ada"/**/}',
    "single quotes": b"{'userId':'ada'}",
    "no object": b'["userId","ada"]',
    "twice": b'{"userId":"ada","userId":"bea"}',
    "twice by an escape": b'{"userId":"ada","user\\u0049d":"bea"}',
    "prototype": b'{"userId":"ada","__proto__":{"userId":"bea"},"constructor":{}}',
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00.",
    "xml": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "form": b"userId=ada&metadata[__proto__][a]=1",
    "brackets": b"[" * 1_000_000,
    "quotes": b'"' * 1_000_000,
    "backslashes": b'{"userId":"' + b"\\" * 1_000_001 + b'"}',
    "colons": b'{"userId":"' + b'\\":' * 300_000 + b'"}',
    "binary": bytes(range(256)),
}

SEGMENTS: Final = [
    *("..", ".", "%2e%2e", "%2E%2E%2f", "..%2f..%2f", "%252e%252e", "....//", "..\\..", "..;", "a;b=c", ";", "%3b"),
    *("%00", "a%00b", "%0d%0aX-Evil:%201", "%", "%zz", "%2", "%u0041", "%ff", "%c0%af", "%ed%a0%80", "%f4%90%80%80"),
    *("%2f", "a%2fb", "%5c", "%20", "+", "%e2%80%ae", "%e2%80%8b", "%ef%bb%bf", "null", "undefined", "*", "'", "%27--"),
    *("__proto__", "constructor", "{}", "[]", "<x>", "%3Cx%3E", "~root", "$HOME", "a" * 7_000, "%61" * 2_000),
]

QUERY_VALUES: Final = [
    *("", "%", "%zz", "%00", "%ff", "%c0%af", "%ed%a0%80", "%e2%80%ae", "%e2%80%8b", "%f0%9f%92%ac", "+", "%20", "a+b"),
    *("0", "-0", "-1", "1", "1.0", "1e1", "0x1", "01", "%2b1", "%d9%a1", "NaN", "Infinity", "1" * 400, "__proto__"),
    *(str(2**power + more) for power in (31, 32, 63, 64) for more in (-1, 0)),
    *(
        "null",
        "true",
        "[]",
        "{}",
        "'%20OR%201=1--",
        "..%2f",
        "%0d%0aX-Evil:1",
        "a" * 300,
        "active",
        "AA",
        "=",
        "==&=&&",
    ),
]

HEADER_VALUES: Final = [
    *(b"", b" ", b"\t", b"x" * 4_000, b"\xff\xfe", "é💬".encode(), b'"', b'""', b'"\\"', b"a,b", b"*", b"W/", b'W/""'),
    *(b"null", b"../..", b"%00", b"%0d%0a", b"0", b"-1", b"9" * 400, b'"9999999999999999999"', b"'; --", b"(){ :;};"),
    *(b'"1", "2", W/"3"', b'"1"' * 500, b"\x80", b"__proto__", b"${jndi:ldap://x}", b"text/plain", b"*/*;q=9"),
]

BAD_LINES: Final = {
    "nul in a header": b"X-A: a\0b\r\n",
    "carriage return in a header": b"X-A: a\rb\r\n",
    "space before the colon": b"X-A : b\r\n",
    "space before the name": b" X-A: b\r\n",
    "folded": b"X-A: b\r\n c\r\n",
    "folded by a tab": b"X-A: b\r\n\tc\r\n",
    "no colon": b"X-A b\r\n",
    "no name": b": b\r\n",
    "bare line end": b"X-A: b\nX-C: d\r\n",
    "two hosts": b"Host: elsewhere\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n",
    "a length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    "an unknown coding": b"Transfer-Encoding: chunked, x\r\n",
    "a coding in disguise": b"Transfer-Encoding: \x0bchunked\r\n",
    "a negative length": b"Content-Length: -2\r\n",
    "a length in words": b"Content-Length: two\r\n",
}

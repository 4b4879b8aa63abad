"""Hypothesis strategies of what strangers send: valid JSON, links and files, with some parts of them damaged."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

from hypothesis import strategies as st

TEXTS = st.text(max_size=8) | st.sampled_from(
    ["", "toy", "nan", "1e999", "9" * 400, "x" * 300, "@1" * 400, "[" * 3000, "\0", "\ud800", "../toy", "/etc/passwd"]
)
NUMBERS = (
    st.integers()
    | st.integers(-2, 30)
    | st.floats()
    | st.sampled_from([2**31, 2**32 - 1, 2**32, 2**63, 10**400, 1e308, float("nan"), float("inf"), -0.0, True])
)
JSON = st.recursive(
    st.none() | NUMBERS | TEXTS,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(TEXTS, inside, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one to three parts replaced, removed or added, also inside JSON and links that are texts."""
    for _ in range(draw(st.integers(1, 3))):
        value = _changed(draw, value)
    return value


def _changed(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict | list) and value and (how := draw(st.sampled_from("iiiiiidar"))) != "r":
        copy = value.copy()
        keys = range(len(copy)) if isinstance(copy, list) else list(copy)
        key = draw(st.sampled_from(keys))
        if how == "d":
            del copy[key]
        elif how == "i":
            copy[key] = _changed(draw, copy[key])
        elif isinstance(copy, list):
            copy.insert(key, draw(st.just(copy[key]) | JSON))
        else:
            copy[draw(TEXTS)] = draw(st.just(copy[key]) | JSON)
        return copy
    if isinstance(value, str) and value and (how := draw(st.sampled_from("iiiitr"))) != "r":
        if how == "i" and value.startswith("{"):
            try:
                return json.dumps(_changed(draw, json.loads(value)))
            except (ValueError, RecursionError):  # it was damaged before
                pass
        if how == "i" and value.startswith("?"):
            pairs = _changed(draw, dict(parse_qsl(value[1:], errors="surrogatepass")))
            if isinstance(pairs, dict):
                return "?" + urlencode({_plain(k): _plain(v) for k, v in pairs.items()}, errors="surrogatepass")
        at, to = sorted(draw(st.tuples(*[st.integers(0, len(value))] * 2)))
        return value[:at] + draw(TEXTS) + value[to:]
    return draw(JSON)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes, first: int = 200) -> bytes:
    """A file with up to six places overwritten, cut out or grown, half of them among the `first` bytes."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, min(draw(st.sampled_from([first, 1 << 40])), len(changed))))
        new = draw(st.binary(max_size=4) | st.sampled_from([b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\0\0\0\x80"]))
        changed[at : at + draw(st.sampled_from([len(new), 0, 40]))] = new
    return bytes(changed[: draw(st.integers(0, len(changed)))] if draw(st.integers(0, 5)) == 0 else changed)

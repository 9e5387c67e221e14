"""A strict JSON reader: whatever two parsers could read differently is refused with a reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from errors import BodyTooLarge, InvalidContent, MalformedBody

MAX_NESTING_LEVELS = 32
# Two million values are 6,000 reports with every field many times over, and still parse within a second.
MAX_JSON_VALUES = 2_000_000
_CONTAINERS = frozenset({dict, list})
_DOUBTFUL_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(raw: bytes) -> Any:
    """Parse one JSON document (RFC 8259) with finite numbers, unique keys and at most 32 levels.

    A byte order mark is accepted.

    Raises
    ------
    BodyTooLarge, MalformedBody
        The document cannot be read.
    InvalidContent
        It holds NUL characters, which are valid JSON that nothing here can store.
    """
    # Separators are counted before anything is parsed: a small body can hold millions of empty arrays.
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_JSON_VALUES:
        raise BodyTooLarge(f"A body may hold at most {MAX_JSON_VALUES:,} values")
    text = decode_utf8(raw)
    if not text.strip():
        raise MalformedBody("The body is empty; a JSON document was expected")
    document = decode_json(text)
    if _depth(document) > MAX_NESTING_LEVELS:
        raise _too_deep()
    if _DOUBTFUL_ESCAPE.search(raw):
        for value in _strings(document):
            if _LONE_SURROGATE.search(value):
                raise MalformedBody(
                    "The body holds half of a surrogate pair (\\ud800 to \\udfff), no character"
                )
            if "\0" in value:
                raise InvalidContent("The body holds NUL characters (\\u0000), which cannot be stored")
    return document


def decode_utf8(raw: bytes, problem: str = "is not UTF-8") -> str:
    """Decode a body; ``problem`` completes the sentence of the error."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"The body {problem}: byte {error.start + 1} cannot be read") from error


def decode_json(text: str) -> Any:
    """Decode a JSON text of any size; every key of an object appears once, and numbers are finite."""
    try:
        return json.loads(
            text, object_pairs_hook=_unique_object, parse_constant=_refuse_constant, parse_float=_finite_float
        )
    except json.JSONDecodeError as error:
        raise MalformedBody(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:  # CPython refuses to read integers of more than 4,300 digits
        raise MalformedBody("The body holds a number with too many digits") from error


def _too_deep() -> MalformedBody:
    return MalformedBody(f"The JSON document is nested more than {MAX_NESTING_LEVELS} levels deep")


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        key, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise MalformedBody(f"The key {json.dumps(key[:100])} stands twice in one JSON object")
    return document


def _refuse_constant(word: str) -> NoReturn:
    raise MalformedBody(f"{word} is not JSON; leave the field out or send null")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise MalformedBody(f"The number {text[:40]} is too large")
    return number


def _depth(document: object) -> int:
    """Count how deep arrays and objects are nested, level by level, so that no depth exhausts the stack."""
    level = [document] if type(document) in _CONTAINERS else []
    depth = 0
    while level:
        level = [child for node in level for child in _children(node) if type(child) in _CONTAINERS]
        depth += 1
    return depth


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _strings(document: object) -> Iterator[str]:
    nodes = [document]
    while nodes:
        node = nodes.pop()
        if isinstance(node, str):
            yield node
        else:
            nodes.extend(_children(node))
            nodes.extend(node if isinstance(node, dict) else ())

"""The text of prompts: weighted and cut as the Stable Diffusion web UI does it.

Pure Python. `parse` and `chunk` follow the web UI's rules: `(x)` weighs 1.1, `[x]` 1/1.1, `(x:w)` w, nested ones
multiply, an unclosed bracket runs to the end, a backslash makes a bracket literal, and BREAK ends a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from typing import Any

CHUNK = 75
BACKTRACK = 20

_ITEM = re.compile(
    r"""\\(?P<literal>[()\[\]\\]?)                           # \( is literal; a lone backslash vanishes
      | (?P<open>[(\[])
      | :\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)        # :1.2)
      | (?P<close>[)\]])
      | (?P<text>[^\\()\[\]:]+|.)                            # a run of text, or one character that fits nothing above
    """,
    re.VERBOSE | re.DOTALL,
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


def parse(text: str) -> list[tuple[str, float | None]]:
    """Split a prompt into (fragment, weight) pairs; a BREAK is a pair whose weight is None.

    Neighbours of equal weight are one fragment; the empty prompt is one empty fragment of weight 1.
    """
    pieces: list[list[Any]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(start: int, factor: float) -> None:
        for piece in pieces[start:]:
            if piece[1] is not None:
                piece[1] *= factor

    for item in _ITEM.finditer(text):
        kind = str(item.lastgroup)
        value = item[kind]
        if kind == "open":
            opened[value].append(len(pieces))
        elif kind == "weight" and opened["("]:
            multiply(opened["("].pop(), float(value))
        elif kind == "close" and opened["(" if value == ")" else "["]:
            multiply(opened["(" if value == ")" else "["].pop(), 1.1 if value == ")" else 1 / 1.1)
        elif kind == "literal":
            pieces.append([value, 1.0])
        else:
            pieces.extend(_split_breaks(item[0]))
    for bracket, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in opened[bracket]:
            multiply(start, factor)
    return _merge(pieces) or [("", 1.0)]


def _split_breaks(text: str) -> Iterable[list[Any]]:
    for number, part in enumerate(_BREAK.split(text)):
        if number:
            yield ["BREAK", None]
        yield [part, 1.0]


def _merge(pieces: list[list[Any]]) -> list[tuple[str, float | None]]:
    merged: list[tuple[str, float | None]] = []
    for text, weight in pieces:
        if merged and weight is not None and merged[-1][1] == weight:
            merged[-1] = (merged[-1][0] + text, weight)
        else:
            merged.append((text, weight))
    return merged


def chunk(
    text: str, tokenize: Callable[[str], list[Any]], comma: Hashable, size: int = CHUNK, backtrack: int = BACKTRACK
) -> list[list[tuple[Hashable, float]]]:
    """Cut a prompt into chunks of at most `size` (token, weight) pairs, without BOS, EOS and filling.

    `tokenize` turns a fragment into tokens without specials; `comma` is the token of ",". When a chunk is full and its
    last comma is at most `backtrack` tokens back, what follows that comma moves to the next chunk. The empty prompt
    gives one empty chunk.
    """
    chunks: list[list[tuple[Hashable, float]]] = []
    current: list[tuple[Hashable, float]] = []
    last_comma: int | None = None
    for fragment, weight in parse(text):
        if weight is None:
            chunks.append(current)
            current, last_comma = [], None
            continue
        for token in tokenize(fragment):
            full = len(current) == size
            if token == comma and not full:
                last_comma = len(current)
            if full:
                cut = size
                if token != comma and last_comma is not None and size - last_comma <= backtrack:
                    cut = last_comma + 1
                chunks.append(current[:cut])
                current, last_comma = current[cut:], None
            current.append((token, weight))
    if current or not chunks:
        chunks.append(current)
    return chunks


def count_tokens(text: str, tokenize: Callable[[str], list[Any]]) -> int:
    """Return tokens of a prompt without BOS, EOS and filling."""
    return sum(len(tokenize(fragment)) for fragment, weight in parse(text) if weight is not None)

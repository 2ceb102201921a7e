r"""Words of a table, a row or a folder in a card: Markdown and HTML show them as they are, whatever they hold.

>>> print(text("<b>Faces_1 | [a](b)</b>"))
&lt;b&gt;Faces_1 \| \[a\](b)&lt;/b&gt;
>>> print(code("a `quoted` hat"))
``a `quoted` hat``
"""

from __future__ import annotations

import json
import re
from typing import Any

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKS = re.compile(r"[\\`*\[\]|#~$&<>]|(?<![^\W_])_|_(?![^\W_])")
"""What means something in the middle of a line of Markdown; `_` does only at the edge of a word."""
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


class Markdown(str):
    """Text that is Markdown already: it is not escaped again."""


def text(value: str) -> Markdown:
    """Return words for the middle of a line, or for a cell of a table."""
    return Markdown(_MARKS.sub(lambda mark: _ENTITIES.get(mark[0], f"\\{mark[0]}"), visible(value)))


def code(value: str) -> Markdown:
    """Return words as code. In a cell of a table it also needs `cell`."""
    inner = visible(value)
    fence = "`" * (max(map(len, re.findall("`+", inner)), default=0) + 1)
    pad = " " if inner[:1] == "`" or inner[-1:] == "`" or inner != inner.strip(" ") != "" else ""
    return Markdown(f"{fence}{pad}{inner}{pad}{fence}")


def cell(value: str) -> Markdown:
    """Return code, or other Markdown, for a cell of a table, in which `|` ends a cell also within code."""
    return Markdown(value.replace("|", r"\|"))


def literal(value: str) -> Markdown:
    """Return words as a string of Python, for a block of code."""
    return Markdown(visible(json.dumps(value, ensure_ascii=False)))


def tex(value: str) -> Markdown:
    """Return words for a field of BibTeX."""
    return Markdown(re.sub(r"[\\~^{}&%$#_]", lambda sign: _TEX.get(sign[0], f"\\{sign[0]}"), visible(value)))


def visible(value: str) -> str:
    r"""Return one line of printable text: whatever is not stands there as Python writes it, a line's end as `\n`."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in value)


def shown(value: Any) -> Any:
    """Return what a template writes: words escaped, all else, Markdown included, as it is."""
    return text(value) if isinstance(value, str) and not isinstance(value, Markdown) else value

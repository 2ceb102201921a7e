"""Whatever words a table has, Markdown shows them as they are, and nothing else."""

import ast
import doctest

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from builder.dataset import markdown
from builder.dataset.markdown import cell, code, literal, tex, text, visible

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
WORDS = st.text(
    st.sampled_from(list("ab_*`<>&|#~[]()!\\$ -\"'1.:/@é{}")) | st.characters().filter(str.isprintable), min_size=1
).filter(str.strip)


def shown(markdown):
    """What a reader sees of some Markdown, part by part; what is no text is named as the tag it is."""
    inline = [token for token in RENDERER.parse(markdown) if token.type == "inline"]
    texts = ("text", "text_special", "code_inline")
    return ["".join(part.content if part.type in texts else f"<{part.type}>" for part in t.children) for t in inline]


@given(WORDS)
def test_words_in_a_line_are_shown_as_they_are(words):
    assert shown(f"# a {text(words)} b") == [f"a {words} b"]
    assert shown(f"a {code(words)} b") == [f"a {words} b"]
    assert not set("<>") & set(text(words))


@given(WORDS)
def test_words_in_a_table_stay_in_their_cells(words):
    rows = shown(f"| a | b |\n| --- | --- |\n| {text(words)} | {cell(code(words))} |\n| c | d |\n")
    assert rows == ["a", "b", words.strip(" "), words, "c", "d"]


@given(st.text())
def test_any_words_are_one_line_of_printable_text(words):
    """Also those of a folder's name or of a row, which no table's reader has seen."""
    assert all(write(words).isprintable() for write in (text, code, literal, tex, visible))
    assert ast.literal_eval(literal(words)) == words


def test_tex_has_no_commands_of_the_words():
    assert tex(r"50% of {A} & \b_c") == r"50\% of \{A\} \& \textbackslash{}b\_c"


def test_the_examples_are_true():
    assert doctest.testmod(markdown).failed == 0 < doctest.testmod(markdown).attempted

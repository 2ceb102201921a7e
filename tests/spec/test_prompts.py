"""Prompts: the web UI's weights and chunks, and what `render` makes of a table's pieces."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builder.plan.plan import Plan
from builder.spec import table
from builder.spec.faults import SpecError
from builder.spec.minors import is_minor
from builder.spec.prompt_syntax import CHUNK, chunk, count_tokens, parse
from builder.spec.prompts import render
from builder.spec.spec import ADULT, Feature

WEBUI = json.loads(Path(__file__).parents[1].joinpath("fixtures", "webui_prompts.json").read_text(encoding="utf-8"))
SPEC = table.load()
ROWS = {feature.name: feature for feature in SPEC.features}

quick = settings(max_examples=150, deadline=None)
plain = st.text(st.characters(exclude_characters="()[]\\", exclude_categories=["Cs"])).filter(
    lambda t: "BREAK" not in t
)
prompts = st.one_of(
    st.text(),
    st.text("ab ,:.()[]\\12\n"),
    st.lists(st.sampled_from(["a", "b", ",", "(", ")", "[", "]", ":1.2)", "(c:0.5)", "\\(", "\\", "BREAK"])).map(
        " ".join
    ),
)


def tokenize(text: str) -> list[str]:
    """The reference's tokenizer: one token a word or mark, case kept."""
    return re.findall(r"[A-Za-z0-9]+|[^A-Za-z0-9\s]", text)


def tokens_of(text: str) -> list[tuple[str, float]]:
    return [(token, weight) for fragment, weight in parse(text) if weight is not None for token in tokenize(fragment)]


@pytest.mark.parametrize("case", WEBUI["cases"], ids=range(len(WEBUI["cases"])))
def test_fragments_of_the_webui(case):
    """Fragments and weights are the web UI's, a BREAK weighs None."""
    found, wanted = parse(case["prompt"]), case["fragments"]
    assert [weight is None for _, weight in found] == [weight is None for _, weight in wanted]
    fragments = [fragment for fragment in found if fragment[1] is not None]
    expected = [fragment for fragment in wanted if fragment[1] is not None]
    assert [text for text, _ in fragments] == [text for text, _ in expected]
    assert [weight for _, weight in fragments] == pytest.approx([weight for _, weight in expected], abs=1e-5)


@pytest.mark.parametrize("case", WEBUI["cases"], ids=range(len(WEBUI["cases"])))
def test_chunks_of_the_webui(case):
    """Chunks, once BOS, EOS and filling are added, are the web UI's, token by token and weight by weight."""
    chunks = chunk(case["prompt"], tokenize, ",", WEBUI["chunk_size"], WEBUI["comma_backtrack"])
    assert len(chunks) == len(case["chunks"])
    for found, wanted in zip(chunks, case["chunks"]):
        filling = WEBUI["chunk_size"] - len(found)
        assert ["<bos>", *(token for token, _ in found), *["<eos>"] * (filling + 1)] == wanted["tokens"]
        weights = [1.0, *(weight for _, weight in found), *[1.0] * (filling + 1)]
        assert weights == pytest.approx(wanted["weights"], abs=1e-5)


def test_all_cases_are_there():
    """The reference has 89 cases, and breaks among them."""
    assert len(WEBUI["cases"]) == 89
    assert any(weight is None for case in WEBUI["cases"] for _, weight in case["fragments"])


@quick
@given(prompts)
@example("(a:" + "9" * 400 + ")")
@example("(a:1.2.3)(b:٣)")
def test_parse_takes_any_text(text):
    """No text makes `parse` raise, and each pair is text with a float, or a BREAK with None."""
    pairs = parse(text)
    assert pairs
    for fragment, weight in pairs:
        assert isinstance(fragment, str)
        assert weight is None or isinstance(weight, float)


@quick
@given(plain)
def test_text_without_brackets(text):
    """Text without brackets, backslash and BREAK is one fragment of weight 1, kept to the letter."""
    assert parse(text) == [(text, 1.0)]


@quick
@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda t: "BREAK" not in t))
def test_escaped_text(text):
    """A backslash makes any bracket, and itself, literal."""
    assert parse(re.sub(r"([\\()\[\]])", r"\\\1", text)) == [(text, 1.0)]


@quick
@given(st.lists(st.one_of(st.just("("), st.just("["), st.integers(1, 300).map(lambda n: n / 100)), max_size=6))
def test_nested_brackets(levels):
    """Weights of nested brackets multiply: 1.1 for (), 1/1.1 for [], w for (:w)."""
    text, weight = "face", 1.0
    for level in levels:
        text = {"(": f"({text})", "[": f"[{text}]"}.get(level, f"({text}:{level})")
        weight *= {"(": 1.1, "[": 1 / 1.1}.get(level, level)
    [(fragment, found)] = parse(text)
    assert fragment == "face"
    assert found == pytest.approx(weight, rel=1e-9)


@quick
@given(st.text("([", min_size=1, max_size=6))
def test_unclosed_brackets(brackets):
    """An unclosed bracket weighs what follows it up to the end, and vanishes."""
    pairs = parse("hair " + brackets + "face, skin")
    factor = math.prod({"(": 1.1, "[": 1 / 1.1}[bracket] for bracket in brackets)
    assert "".join(text for text, _ in pairs) == "hair face, skin"
    assert pairs[0][1] == 1.0 and pairs[-1][1] == pytest.approx(factor)


def test_empty_prompt():
    """The empty prompt is one empty fragment and one empty chunk."""
    assert parse("") == [("", 1.0)]
    assert chunk("", tokenize, ",") == [[]]
    assert count_tokens("", tokenize) == 0


@quick
@given(prompts, st.integers(1, 12), st.integers(0, 12))
def test_no_token_is_lost(text, size, backtrack):
    """Chunks are at most `size` long, and hold the tokens of the fragments once each, in order, with their weights."""
    chunks = chunk(text, tokenize, ",", size, backtrack)
    assert chunks and all(len(part) <= size for part in chunks)
    assert repr([pair for part in chunks for pair in part]) == repr(tokens_of(text))
    assert count_tokens(text, tokenize) == len(tokens_of(text))


@quick
@given(st.lists(st.sampled_from(["a", "b", ",", "(c:1.3)"]), max_size=60), st.integers(5, 12), st.integers(0, 4))
def test_backtracking(words, size, backtrack):
    """A chunk ends behind its last comma where that is at most `backtrack` tokens back, and else only when full."""
    chunks = [[token for token, _ in part] for part in chunk(" ".join(words), tokenize, ",", size, backtrack)]
    for part, following in itertools.pairwise(chunks):
        moved = size - len(part)
        if moved:
            assert part[-1] == "," and len(part) > size - backtrack
            assert "," not in following[: moved + 1] and len(following) > moved
        else:
            assert "," in (following[0], part[-1]) or "," not in part[size - backtrack :]


def test_break_ends_a_chunk():
    """BREAK begins a new chunk wherever it stands, also within brackets, and forgets the comma before it."""
    chunks = chunk("a, (b BREAK c) BREAK " + "d " * CHUNK + "e", tokenize, ",")
    assert [len(part) for part in chunks] == [3, 1, CHUNK, 1]
    assert chunks[1] == [("c", pytest.approx(1.1))]


def changed(name: str, **changes) -> Feature:
    return ROWS[name].changed(**changes)


def test_render_an_adult():
    """An adult's prompts are the row's own pieces with the fields filled in, and nothing of [minors]."""
    positive, negative = render(SPEC, ROWS["smile"], 25, "man", "pale_skin", "laughing")
    assert positive == (
        "RAW photo, a close up portrait photo of 25 y.o man, pale skin, laughing, skin pores, big face, "
        "(high detailed skin:1.2), soft lighting, 8k uhd, dslr, high quality, film grain, Fujifilm XT3"
    )
    assert negative == ", ".join(ROWS["smile"].negative)


def test_render_a_minor():
    """A minor's prompts have the [minors] pieces: behind the last field in the positive, at the end of the negative."""
    positive, negative = render(SPEC, ROWS["child"], 3, "girl", "asian", "")
    assert ", a close up portrait photo of 3 y.o girl, Asian, wearing everyday clothes, skin pores, " in positive
    assert negative == ", ".join([*ROWS["child"].negative, "nude", "naked", "nsfw", "underwear", "swimwear"])


def test_empty_pieces_vanish():
    """A piece that is empty once its fields are filled leaves no comma behind."""
    positive, _ = render(SPEC, ROWS["base"], 25, "man", "asian", "")
    assert ", Asian, skin pores, " in positive
    spaced = changed("base", positive=("{age} y.o {subject}", " {phrase} ", "{ethnicity}"))
    assert render(SPEC, spaced, 25, "man", "asian", "")[0] == "25 y.o man, Asian"


@pytest.mark.parametrize(
    "word", ["boy", "girl", "Girls", "child", "children", "KID", "baby", "infant", "toddler", "teenagers"]
)
def test_words_of_a_child(word):
    """Whoever the prompt calls a child counts as a minor at any age, wherever the word stands."""
    assert is_minor(25, f"happy ({word}:1.2) face")
    row = changed("smile", subjects={"male": (word,), "female": (word,)})
    positive, negative = render(SPEC, row, 25, word, "asian", "smiling")
    assert "wearing everyday clothes" in positive
    assert negative.endswith("nude, naked, nsfw, underwear, swimwear")


@pytest.mark.parametrize("word", ["schoolgirl", "schoolboy", "preteen", "teenage", "newborn", "adolescent", "underage"])
def test_other_words_of_a_child(word):
    """To be on the safe side, compound and less common words of a child count too."""
    assert is_minor(25, f"{word} smiling")


@pytest.mark.parametrize(
    "text",
    [
        *["aged 12", "age: 9", "ages 3", "at the age of nine", "aged twelve", "12-aged", "sixteen y.o.", "seven y/o"],
        *["five-year-old", "10th birthday", "sweet sixteen", "six months old", "a few weeks old", "(age 12:1.3)"],
    ],
)
def test_ages_of_a_child(text):
    """An age under 18 makes a minor in whatever common form it is written."""
    assert is_minor(25, f"portrait of a man, {text}, smiling")


@pytest.mark.parametrize(
    "text",
    [
        *["aged 45", "age 70", "thirty-five years old", "twenty one years", "middle-aged", "aged, 85mm lens"],
        *["image 12", "page 9", "sixty-six year old", f"{'9' * 5000} years"],
    ],
)
def test_ages_of_an_adult(text):
    """Ages from 18 on, and numbers that are no ages, make no minor."""
    assert not is_minor(25, f"portrait of a man, {text}, smiling")


@pytest.mark.parametrize(
    "word",
    [
        *["bare-chested", "bare breasts", "swim suit", "bathing-suit", "under wear", "underpants", "undies"],
        *["nudism", "seminude", "nakedness", "sexually", "a thong", "stripped", "no shirt"],
        "without clothes",
    ],
)
def test_words_of_nudity_are_refused_for_minors(word):
    """A minor's prompt may not speak of nudity in any common spelling; an adult's may."""
    with pytest.raises(SpecError, match="must not speak of nudity"):
        render(SPEC, ROWS["smile"], 8, "girl", "asian", word)
    assert word in render(SPEC, ROWS["smile"], 30, "woman", "asian", word)[0]


@pytest.mark.parametrize(
    "word", ["striped shirt", "barefoot", "bareheaded", "swimming", "embrace", "brass", "backpack"]
)
def test_harmless_words_are_not_refused(word):
    """Words that only look like words of nudity stay."""
    assert word in render(SPEC, ROWS["smile"], 8, "girl", "asian", word)[0]


@given(st.integers(0, 120))
def test_age_of_a_minor(age):
    """Under 18 is a minor, whatever the words; 18 and above is not, without words of a child."""
    assert is_minor(age, "portrait of a man") == (age < ADULT)
    assert not is_minor(ADULT, "kidney, cowboyish, minority, sunglasses, 18 y.o man, forty years old, preach")


def test_every_prompt_of_the_table():
    """No prompt of the table has a field or an empty piece left; all of a minor's, and no other, have [minors]."""
    plan = Plan(SPEC)
    for cell in plan.cells:
        minor = min(cell.feature.ages) < ADULT
        for positive, negative in plan.prompts(cell):
            assert not re.search(r"[{}]|,\s*,|^\s*,|,\s*$", positive)
            assert not re.search(r"[{}]|,\s*,|^\s*,|,\s*$", negative)
            assert ("wearing everyday clothes" in positive) == ("nsfw" in negative) == minor

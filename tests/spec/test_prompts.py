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


DISGUISES = [
    "g\u00efrl",
    "g\u200birl",
    "gi\u00adrl",
    "G\u0130RL",
    "\uff47\uff49\uff52\uff4c",
    "g\u0131rl",
    "\u0261i\u0280l",
    "gi\u0336rl",
]
DISGUISES += [
    "g\u2060irl",
    "g\u3164irl",
    "gi(r:1.2)l",
    "g\\irl",
    "happy\u200bteen",
    "happy(teen:1.2)",
    "aged\u200b12",
    "b\u00f8y",
]


@pytest.mark.parametrize("words", DISGUISES)
def test_disguised_words_of_a_child(words):
    """Accents, invisible signs, odd letters and weights inside a word do not hide it."""
    assert is_minor(25, f"portrait of a {words}, smiling")
    assert not is_minor(25, "portrait of a m\u00e4n\u200b, smiling")


@pytest.mark.parametrize(
    "words", ["n\u00fcde", "na\u200bked", "TOPL\u0112SS", "un\u00addressed", "very\u200bnude", "very(nude:0.5)"]
)
def test_disguised_words_of_nudity_are_refused_for_minors(words):
    with pytest.raises(SpecError, match="must not speak of nudity"):
        render(SPEC, ROWS["smile"], 8, "girl", "asian", words)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        *[
            ("g\u0456rl", "g\u0456rl"),
            ("\u0421lothes", "\u0441lothes"),
            ("b\u03bfy", "b\u03bfy"),
            ("b\u0585y", "b\u0585y"),
        ],
        *[
            ("g\u200b\u0456rl", "g\u0456rl"),
            ("g(\u0456:1.2)rl", "g\u0456rl"),
            ("\u03bc\u043e\u03b9", "\u03bc\u043e\u03b9"),
        ],
    ],
)
def test_a_word_of_two_alphabets_is_refused(word, named):
    """Nobody can tell what it says: Latin letters with Cyrillic, Greek or Armenian ones. The message names it."""
    row = changed("smile", positive=("{age} y.o {subject}", "{ethnicity}", "{phrase}"))
    with pytest.raises(SpecError, match=f"must not mix alphabets within a word.*{named}"):
        render(SPEC, row, 30, "man", "asian", f"a {word} here")
    with pytest.raises(SpecError, match=f"must not mix alphabets within a word.*{named}"):
        row.changed(negative=("drawing", f"a {word} here"))


def test_a_word_that_fields_put_together_of_two_alphabets_is_refused():
    row = changed("smile", positive=("{age} y.o {subject}", "{ethnicity}", "g{phrase}"))
    with pytest.raises(SpecError, match="must not mix alphabets within a word, got 'g\u0456rl'"):
        render(SPEC, row, 30, "man", "asian", "\u0456rl")


@pytest.mark.parametrize(
    "words",
    [
        *[
            "\u0443\u043b\u044b\u0431\u043a\u0430",
            "\u03c7\u03b1\u03bc\u03cc\u03b3\u03b5\u03bb\u03bf",
            "\u7b11\u9854",
            "T\u6064",
            "\ubbf8\uc18c",
            "\u0627\u0628\u062a\u0633\u0627\u0645\u0629",
        ],
        *[
            "\u03b2-carotene",
            "caf\u00e9 \u043a\u043e\u0444\u0435",
            "na\u00efve",
            "Stra\u00dfe",
            "\u092e\u0941\u0938\u094d\u0915\u093e\u0928",
        ],
    ],
)
def test_words_of_one_alphabet_stay(words):
    """Any script will do, and a text may have several."""
    assert words in render(SPEC, ROWS["smile"], 30, "man", "asian", words)[0]


# What a minor's prompt is made of cannot be weighed away.

UNWANTED = ("nude", "naked", "nsfw", "underwear", "swimwear")


def weights_of(prompt: str, piece: str) -> list[float | None]:
    """The weights with which a whole piece stands in a prompt."""
    return [weight for text, weight in parse(prompt) if piece in [part.strip() for part in text.split(",")]]


def of_a_girl(positive=("{phrase}",), negative=(), phrase="smiling", minors=SPEC.minors) -> tuple[str, str]:
    """A girl's prompts in a row with these pieces, by a table with these [minors]."""
    pieces = ("a {age} y.o {subject}", "{ethnicity}", *positive)
    row = changed("smile", positive=pieces, negative=("ugly", *negative))
    return render(SPEC.changed(minors=minors), row, 8, "girl", "asian", phrase)


@pytest.mark.parametrize(
    "piece", ["a red hat", "(wearing everyday clothes:0)", "[wearing everyday clothes]", "(hat:0)", "everyday clothes"]
)
def test_clothes_are_built_in(piece):
    """Whatever [minors] says, clothes and what is against nudity stand there with their full weight, once."""
    minors = {"positive": (piece,), "negative": ("(nude:0)", "[naked]")}
    positive, negative = of_a_girl(minors=minors)
    assert weights_of(positive, "wearing everyday clothes").count(1.0) == 1 and piece in positive
    assert [weights_of(negative, word).count(1.0) for word in UNWANTED] == [1] * 5


WEIGHING = {
    "an unclosed bracket": ({"positive": ("[{phrase}]",), "phrase": "hat\\"}, "brackets must not reach over `wearing"),
    "unclosed in another": ({"positive": ("([{phrase}]:0.1)",), "phrase": "hat\\"}, "brackets must not reach over"),
    "BREAK": ({"positive": ("{phrase}", "BREAK")}, "BREAK must not be used"),
    "BREAK as a phrase": ({"phrase": "hat BREAK cap"}, "BREAK must not be used"),
    "BREAK in the negative": ({"negative": ("BREAK",)}, "BREAK must not be used"),
    "a weight that dwarfs": ({"phrase": "(hat:2.1)"}, "weights must be from 0 to 2"),
    "a negative weight": ({"phrase": "(hat:-1)"}, "weights must be from 0 to 2"),
    "nested weights": ({"phrase": "((hat:1.5):1.5)"}, "weights must be from 0 to 2"),
    "a weight in [minors]": ({"minors": {**SPEC.minors, "positive": ("(hat:9)",)}}, "weights must be from 0 to 2"),
    "weights of the negative": ({"negative": ("(cartoon:3)",)}, "weights must be from 0 to 2"),
}


@pytest.mark.parametrize(("pieces", "says"), WEIGHING.values(), ids=WEIGHING)
def test_nothing_weighs_clothes_away(pieces, says):
    """Not a bracket that runs on, not a chunk of their own, and not weights beside which they count for nothing."""
    with pytest.raises(SpecError, match=f"^in a prompt that may show a minor, {says}"):
        of_a_girl(**pieces)


def test_weights_within_bounds_stay():
    positive, negative = of_a_girl(phrase="(hat:2), [cap], (scarf:0)", negative=("(cartoon:1.4)",))
    assert "(hat:2), [cap], (scarf:0)" in positive and weights_of(positive, "wearing everyday clothes") == [1.0]
    assert "(cartoon:1.4)" in negative


@pytest.mark.parametrize(
    "piece", ["clothes", "(Clothing:1.3)", "text, wearing clothes", "dressed", "cl\u00f6thes", "a\\, shirt"]
)
def test_a_minors_negative_prompt_is_not_against_clothes(piece):
    with pytest.raises(SpecError, match="the negative prompt of a minor must not be against clothes"):
        of_a_girl(negative=(piece,))
    assert piece in render(SPEC, changed("base", negative=(piece,)), 30, "man", "asian", "")[1]


@pytest.mark.parametrize("piece", ["no clothes", "without clothes", "unclothed", "torn clothes", "dresses", "cloud"])
def test_a_minors_negative_prompt_may_be_against_what_is_no_clothes(piece):
    assert piece in of_a_girl(negative=(piece,))[1]


def test_an_age_that_pieces_put_together_makes_a_minor():
    """Pieces that are empty are gone before it is judged, as they are from the prompt."""
    row = changed("base", positive=("{age} y.o {subject}", "{ethnicity}", "aged", "{phrase}", "12 and smiling"))
    positive, negative = render(SPEC, row, 30, "man", "asian", "")
    assert "aged, 12" in positive.replace("wearing everyday clothes, ", "") and "nsfw" in negative
    assert "wearing everyday clothes" in positive


@given(prompts.filter(lambda text: "\n" not in text and text.strip()))
@settings(max_examples=300, deadline=None)
def test_whatever_a_phrase_is_a_minor_wears_clothes(phrase):
    """Every prompt that is made has them at full weight, and no weight beside them that makes them nothing."""
    try:
        positive, _ = of_a_girl(("({phrase}:1.1)",), phrase=phrase)
    except SpecError:
        return
    assert max(weights_of(positive, "wearing everyday clothes")) >= 1
    assert all(weight is not None and 0 <= weight <= 2 for _, weight in parse(positive))


@pytest.mark.parametrize(("guidance", "age", "refused"), [(1.99, 8, True), (2, 8, False), (1, 18, False)])
def test_a_minor_is_not_made_with_a_low_guidance_scale(guidance, age, refused):
    """Near 1 a picture hardly follows its prompt, and the negative one not at all."""
    row = changed("smile", guidance_scale=guidance)
    if refused:
        with pytest.raises(SpecError, match="`guidance_scale` must be at least 2 where a prompt may show a minor"):
            render(SPEC, row, age, "person", "asian", "smiling")
    else:
        assert render(SPEC, row, age, "person", "asian", "smiling")


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

"""The prompts of a person, and the rules for minors that no table and no flag can switch off.

Text cannot be judged for certain, so whoever may be a minor counts as one: anyone under 18, and anyone whose prompt
speaks of a child, of school, or of an age under 18. A minor's prompt always asks for clothes and against nudity, and
may not contain a word of nudity itself.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator

from builder.prompts import parse
from builder.rules import SpecError
from builder.spec import ADULT, SEXES, Feature, Spec

NUDITY = ("nude", "naked", "nsfw", "underwear", "swimwear")
"""Always in a minor's negative prompt, whatever [minors] says."""

_UNCLOTHED = re.compile(
    r"""(?<![a-z])( (semi|half)?nud(e|es|ity|ism|ists?|ies?) | naked(ness)? | nsfw | topless | bottomless | undress\w*
    | unclothed | unclad | shirtless | braless | stripp(ed|ing) | strip[\s-]?tease
    | bare[\s-]*(chest|breast|skin|bod[iy]|torso|belly|midriff|bottom|buttock|butt|thigh|leg|shoulder|back)\w*
    | (without|wears?[ ]no|wearing[ ]no|no)[ ](any[ ])?(clothe?s|clothing|shirt|trousers|pants|dress)
    | lingerie | under[\s-]*(wear|pants?|garments?) | undies | panties | knickers | thongs? | g[\s-]?strings? | bras?
    | brassieres? | bikinis? | swim[\s-]*(wear|suits?|trunks?) | bathing[\s-]*suits? | breasts? | cleavage | nipples?
    | genitals? | genitalia | buttocks? | sex(y|ier|iest|ual\w*)? | seduct\w* | erotic\w* | lewd\w* | fetish\w*
    | hentai | porn\w* )(?![a-z])""",
    re.VERBOSE,
)
_CHILD = re.compile(
    r"""(boy|girl|child|kid)(s|ren)?(?![a-z])
    | (?<![a-z])( bab(y|ies) | newborn | infant | toddler | tween | pre-?teen | teen | adolescen | juvenile | youngster
    | minors?(?![a-z]) | under-?age | loli | shota | pre-?school | kindergart | school | pupils?(?![a-z]) )""",
    re.VERBOSE,
)
_WORDS = [
    *["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
    *["thirteen", "fourteen", "fifteen", "sixteen", "seventeen"],
]
_NUMBER = rf"(\d{{1,4}}|(?<![a-z])(?<!ty[\s-])(?:{'|'.join(_WORDS)}))"
_AGES = re.compile(
    rf"""{_NUMBER}[\s-]*(?:y\.?\s?o|y/o|years?|yrs?|aged?)(?![a-z])
    | (?<![a-z])age[ds]?(?:\s+(?:of|only|just|is))?\W{{0,3}}{_NUMBER}(?![a-z\d])
    | (?<![a-z])sweet[\s-]{_NUMBER}(?![a-z\d])
    | {_NUMBER}(?:st|nd|rd|th)\s+birthday""",
    re.VERBOSE,
)
_MONTHS = re.compile(r"(?<![a-z])(?:months?|weeks?|days?)[\s-]*old(?![a-z])")


def plain(text: str) -> str:
    """What a prompt says, without brackets, weights, escapes, case and look-alike letters."""
    said = "".join(fragment if weight is not None else " " for fragment, weight in parse(text))
    return unicodedata.normalize("NFKC", said).casefold().replace("_", " ")


def is_minor(age: int, text: str) -> bool:
    """True for anyone under 18, and wherever the words of a prompt may speak of someone who is."""
    said = plain(text)
    return age < ADULT or any(years < ADULT for years in _ages(said)) or any(k.search(said) for k in (_CHILD, _MONTHS))


def _ages(said: str) -> Iterator[int]:
    """The ages that a text names, in figures or, below 18, in words."""
    for match in _AGES.finditer(said):
        number = next(filter(None, match.groups()))
        yield int(number) if number.isdecimal() else _WORDS.index(number) + 1


def render(spec: Spec, feature: Feature, age: int, subject: str, ethnicity: str, phrase: str) -> tuple[str, str]:
    """The positive and the negative prompt of one person; a minor gets the table's [minors] pieces, and `NUDITY`.

    Raises SpecError where a minor's prompt speaks of nudity, or the table has no [minors] pieces for it.
    """
    fields = {"age": str(age), "subject": subject, "ethnicity": spec.ethnicities[ethnicity], "phrase": phrase}
    positive, negative = _fill(feature.positive, fields), list(feature.negative)
    if is_minor(age, ", ".join(positive)):
        place = max(n for n, piece in enumerate(feature.positive, 1) if "{" in piece)
        positive[place:place] = _clothes(spec)
        unwanted = [*spec.minors["negative"], *NUDITY]
        negative += [word for word in dict.fromkeys(unwanted) if word not in negative]
        if found := _UNCLOTHED.search(plain(", ".join(positive))):
            raise SpecError(f"a prompt that may show a minor must not speak of nudity, got {found[0]!r}")
    return ", ".join(filter(None, positive)), ", ".join(negative)


def check(spec: Spec, feature: Feature) -> None:
    """Raise SpecError where a prompt of this row breaks the rules for minors, without trying every combination."""
    for age, subject, ethnicity, phrase in _each(spec, feature):
        render(spec, feature, age, subject, ethnicity, phrase)


def _each(spec: Spec, feature: Feature) -> Iterator[tuple[int, str, str, str]]:
    """Every age, subject, ethnicity and phrase of a row at least once, and all ages and ethnicities together."""
    for sex in SEXES:
        subjects, phrases = feature.subjects[sex], feature.phrases[sex]
        yield from itertools.product(feature.ages, subjects[:1], spec.ethnicities, phrases[:1])
        yield from itertools.product([min(feature.ages)], subjects, list(spec.ethnicities)[:1], phrases)


def _clothes(spec: Spec) -> Iterable[str]:
    for key in ("positive", "negative"):
        if not spec.minors.get(key):
            raise SpecError(
                f"a table with ages under {ADULT}, or words such as girl, needs [minors] `{key}`, "
                f"got {spec.minors.get(key)!r}"
            )
    return spec.minors["positive"]


def _fill(pieces: Iterable[str], fields: dict[str, str]) -> list[str]:
    return [re.sub(r"\{(\w+)\}", lambda match: fields[match[1]], piece).strip() for piece in pieces]

"""Who counts as a minor, and which words no prompt of a minor may have.

Text cannot be judged for certain, so whoever may be a minor counts as one: anyone under 18, and anyone whose prompt
speaks of a child, of school, or of an age under 18.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from builder.spec.letters import readings
from builder.spec.spec import ADULT

CLOTHES = "wearing everyday clothes"
"""Always in a minor's prompt, whatever [minors] says."""
NUDITY = ("nude", "naked", "nsfw", "underwear", "swimwear")
"""Always in a minor's negative prompt, whatever [minors] says."""

UNCLOTHED = re.compile(
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

CLOTHED = re.compile(
    r"""((wear(s|ing)?|in|with|any|all|plain|everyday|fully)\ )*
    (cloth(e[ds]?|ing|es)|clad|dressed|garments?|outfits?|(t-?)?shirts?|trousers|pants)""",
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


def is_minor(age: int, text: str) -> bool:
    """Return True for anyone under 18, and wherever the words of a prompt may speak of someone who is."""
    return age < ADULT or _speaks_of_a_minor(text)


def nudity(text: str) -> str | None:
    """Return the first words of a prompt that speak of nudity, or None."""
    matches = (UNCLOTHED.search(said) for said in readings(text))
    return next((match[0] for match in matches if match), None)


def clothes(negative: str) -> str | None:
    """Return the first part of a negative prompt that is against clothes, or None; "no clothes" is not."""
    parts = (part.strip() for said in readings(negative) for part in said.split(","))
    return next((part for part in parts if CLOTHED.fullmatch(part)), None)


@functools.lru_cache(maxsize=4096)  # a table has fewer prompts than samples
def _speaks_of_a_minor(text: str) -> bool:
    return any(
        min(_ages(said), default=ADULT) < ADULT or bool(_CHILD.search(said) or _MONTHS.search(said))
        for said in set(readings(text))
    )


def _ages(said: str) -> Iterator[int]:
    """Yield the ages that a text names, in figures or, below 18, in words."""
    for match in _AGES.finditer(said):
        number = next(filter(None, match.groups()))
        yield int(number) if number.isdecimal() else _WORDS.index(number) + 1

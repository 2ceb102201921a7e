"""The letters of a prompt, whatever they are disguised with: accents, invisible signs, other alphabets."""

from __future__ import annotations

import re
import unicodedata

from builder.spec.prompt_syntax import parse

ALIKE = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU")
"""Scripts with letters that look like those of another one, by the first word of their letters' names in Unicode."""
_FILLERS = "\u115f\u1160\u3164\uffa0"
"""Letters of Hangul that are blank."""
_PLAIN = str.maketrans("øđħłŧıɪɡɢʀʏʙʟɴʜᴀᴄᴅᴇᴊᴋᴍᴏᴘꜱᴛᴜᴠᴡᴢ", "odhltiiggrybl" + "nhacdejkmopstuvwz")
"""What decomposition leaves as it is, and everybody reads as a plain letter."""


def readings(text: str) -> tuple[str, str]:
    """Return what a prompt says, without brackets, weights, escapes, case and accents, read in two ways.

    First without the signs that nobody sees, and the weights inside words; then with a space in the place of each. Both
    hide words from a search, and a model reads neither as a person does: "gi\u200brl", "happy\u200bteen".
    """
    fragments = [fragment if weight is not None else " " for fragment, weight in parse(text)]
    return _letters("".join(fragments), ""), _letters(" ".join(fragments), " ")


def mixed_word(text: str) -> str | None:
    """Return the first word of a prompt that has letters of two alphabets which look alike; None where none has."""
    if text.isascii():
        return None
    return next((word for word in re.findall(r"\w+", readings(text)[0]) if len(_scripts(word)) > 1), None)


def _letters(text: str, unseen: str) -> str:
    """Return a text in small letters, decomposed, without accents, and with something in place of unseen signs."""
    if text.isascii() and text.isprintable():
        return text.lower().replace("_", " ")
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(_letter(sign, unseen) for sign in parts).translate(_PLAIN)


def _letter(sign: str, unseen: str) -> str:
    if sign.isspace() or sign == "_":
        return " "
    if sign in _FILLERS or unicodedata.category(sign) in ("Cf", "Cc"):
        return unseen
    return "" if unicodedata.category(sign) in ("Mn", "Me") else sign


def _scripts(word: str) -> set[str]:
    names = (unicodedata.name(letter, "").partition(" ")[0] for letter in word)
    return {name for name in names if name in ALIKE}

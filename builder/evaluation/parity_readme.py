"""What a parity pack says of itself: the card, and a line for every picture."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from builder.evaluation import parity_chain
from builder.evaluation.parity_pairs import Encoded

if TYPE_CHECKING:
    from builder.evaluation.parity import Settings

PREVIEW = (
    "The generated pictures are drawings of the preview model: this pack proves the tool, and tells nothing of fakes."
)
SAID = ("kind", "split", "source", "source_sha256", "face", "side", "first_quality", "quality", "bytes", "pair")
"""What a line of the manifest says; `side` is that of the square that was cut out, in pixels."""
TEXT = """# Parity pack

Generated pictures of `{release}` and real photographs, encoded alike, so that a detector of fakes does not learn the
format of files instead. `load_dataset("imagefolder", data_dir="...")` reads it; labels are `generated` and `real`.

{lines}

Every picture, of either kind, went the same way:

1. shown as its file says: orientation, colour profile to sRGB, alpha on white;
2. a square of at least {needed} px around the largest face, or in the middle where there is none;
3. reduced to a side drawn from {least} to {needed} px;
4. encoded as JPEG at a quality drawn from {first} to {last}, 4:4:4 or 4:2:0, and decoded again;
5. cut at an offset of 0 to 7 px, drawn both ways, and reduced to {size} px;
6. encoded as JPEG, 4:2:0, at a quality drawn from {qualities}, without metadata.

What is drawn depends on the digest of the source's file and on the seed {seed} alone. {pairs}

- `manifest.jsonl` says where a picture comes from: its id in the release, or its path among the photographs, and
  which two are a pair. A detector must not see it.
- The licence of the real photographs is whatever yours is; this tool knows nothing of it, nor of what the people in
  them have agreed to. Look before you pass the pack on.
- The kinds still differ in what was not the file's: how strongly a picture was reduced (a photograph of 4,000 px more
  than a generated one of 512 px), how it was compressed before that, sensors and lenses, and what is shown.
{preview}"""


def line(picture: Encoded) -> bytes:
    """Return a picture's line of the manifest."""
    said = asdict(picture)
    path = f"{picture.split}/{picture.kind}/{picture.name}.jpg"
    return json.dumps({"file_name": path, **{key: said[key] for key in SAID}}).encode() + b"\n"


def text(settings: Settings, release: str, preview: bool, lines: Iterable[str]) -> str:
    """Return the card."""
    if settings.everything:
        pairs = "All pictures are there: kinds are not balanced, and how many bytes a file has may tell its kind."
    elif settings.within >= 1:
        pairs = "Each has a partner of the other kind with the same split and quality; bytes may tell the kind."
    else:
        pairs = (
            "Each has a partner of the other kind with the same split and quality, whose file differs in at most "
            f"{settings.within:.1%} of its bytes, and in less where all files are about as long."
        )
    size = settings.size
    return TEXT.format(
        release=release,
        lines="\n".join(f"- {line}" for line in lines),
        needed=parity_chain.needed(size),
        least=size * 6 // 5 + parity_chain.GRID,
        first=parity_chain.FIRST_QUALITIES[0],
        last=parity_chain.FIRST_QUALITIES[-1],
        size=size,
        qualities=", ".join(map(str, settings.qualities)),
        seed=settings.seed,
        pairs=pairs,
        preview=f"- {PREVIEW}\n" if preview else "",
    )

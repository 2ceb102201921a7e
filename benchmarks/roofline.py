"""Estimates, nothing measured: what published figures of some cards and a picture's arithmetic let one expect.

A card's dense float16 peak with float32 sums, divided by the arithmetic of a picture (counted, see `arithmetic`), is
what no code can pass. `share` is the part of it that a compiled Stable Diffusion 1.5 in batches of 16 is assumed to
reach; `python benchmarks generation` measures it on the card at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from arithmetic import CHUNK, UNET, VAE, tflop
from harness import Table

from builder.generation.preflight import BYTES_PER_PIXEL, PIXELS
from builder.spec import table

PICTURES = 30_000
LENGTHS = (CHUNK, 3 * CHUNK)
"""Tokens of a prompt and of a negative one, as most samples of the table have them."""


@dataclass(frozen=True)
class Card:
    """Published figures: TFLOP/s of dense float16 matrix products with float32 sums, and GB/s of memory.

    `share` is an assumption: the more arithmetic a card has for each byte, the less of it is reached.
    """

    name: str
    tflops: float
    bandwidth: float
    share: float
    source: str


CARDS = [
    Card("H100 SXM", 989.4, 3350, 0.47, "NVIDIA H100 datasheet: 1,979 with sparsity, 3.35 TB/s"),
    Card("H200 SXM", 989.4, 4800, 0.55, "NVIDIA H200 datasheet: 1,979 with sparsity, 4.8 TB/s"),
    Card("A100 SXM 80 GB", 312.0, 2039, 0.65, "NVIDIA A100 datasheet: 312, 2,039 GB/s"),
    Card("RTX 4090", 165.2, 1008, 0.65, "NVIDIA Ada GPU architecture, appendix A: 165.2, 1,008 GB/s"),
    Card("L4", 121.0, 300, 0.47, "NVIDIA L4 datasheet: 242 with sparsity, 300 GB/s"),
]


def run(scale: float = 1.0) -> Iterator[Table]:
    """Two tables of estimates: pictures a second and hours by card, and room on disk by file format."""
    recipe = table.load().recipe
    each = tflop(UNET, VAE, LENGTHS, recipe.steps)
    columns = ["card", "TFLOP/s", "GB/s", "FLOP a byte", "limit, pictures/s", "share %", "pictures/s", "hours"]
    cards = Table(f"Estimates, not measured: {PICTURES:,} pictures on one card", columns)
    for card in CARDS:
        limit = card.tflops / each
        rate = card.share * limit
        intensity = 1000 * card.tflops / card.bandwidth
        cards.add(
            card.name, card.tflops, card.bandwidth, intensity, limit, 100 * card.share, rate, PICTURES / rate / 3600
        )
    cards.notes.append(
        f"A picture is {each:.1f} TFLOP: {recipe.steps} steps with prompt and negative prompt ({LENGTHS[0]} and "
        f"{LENGTHS[1]} tokens), and the decoding. Tries that fail a check take as long as pictures that are kept, and "
        "are not in here. The share is an assumption."
    )
    cards.notes.append("Published figures: " + "; ".join(f"{card.name}: {card.source}" for card in CARDS) + ".")
    yield cards
    yield _disk()


def _disk() -> Table:
    """Return what a build takes on disk: twice the pictures, since the release has them too."""
    found = Table(
        f"Estimates, not measured: {PICTURES:,} pictures on disk", ["format", "raw build GB", "with release GB"]
    )
    for ending, size in BYTES_PER_PIXEL.items():
        gigabytes = size * PIXELS * PICTURES / 1e9
        found.add(ending, gigabytes, 2 * gigabytes)
    return found

"""Which file format and level for 512×512 pictures: milliseconds and bytes, the reason for the builder's defaults.

    python benchmarks/encoding.py            # on pictures of your own: --pictures FOLDER

Without a folder it draws pictures with a photo's spectrum and film grain.
"""

import argparse
import io
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

CANDIDATES = {
    **{f"png level {level}": {"format": "PNG", "compress_level": level} for level in (0, 1, 3, 6, 9)},
    "webp lossless method 0": {"format": "WEBP", "lossless": True, "method": 0},
    "webp lossless method 4": {"format": "WEBP", "lossless": True, "method": 4},
    "jpg quality 95, 4:4:4": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="folder of pictures to encode")
    parser.add_argument("--repeats", type=int, default=5, help="times each is encoded (default: 5)")
    arguments = parser.parse_args()
    if arguments.pictures:
        pictures = [Image.open(path).convert("RGB") for path in sorted(arguments.pictures.glob("*.*"))[:20]]
    else:
        pictures = [photo(seed) for seed in range(4)]
    print(f"{'encoder':<26}{'ms':>8}{'KB':>8}{'decode ms':>11}")
    for name, options in CANDIDATES.items():
        written = [timed(lambda p=p, o=options: encode(p, o)) for _ in range(arguments.repeats) for p in pictures]
        read = [timed(lambda d=data: Image.open(io.BytesIO(d)).load())[0] for _, data in written]
        size = statistics.mean(len(data) for _, data in written) / 1000
        print(f"{name:<26}{statistics.median(t for t, _ in written):>8.1f}{size:>8.0f}{statistics.median(read):>11.1f}")


def photo(seed, side=512):
    """Noise with a photo's spectrum (amplitude 1/f^1.5, mostly grey), and a little grain."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(4, side, side))) / frequency**1.5)
    light, colour = noise[:1], noise[1:]
    pixels = 128 + 50 * light / light.std() + 15 * colour / colour.std() + rng.normal(size=(3, side, side))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def encode(picture, options):
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def timed(work):
    """(milliseconds, what the work returned)."""
    started = time.perf_counter()
    result = work()
    return (time.perf_counter() - started) * 1000, result


if __name__ == "__main__":
    sys.exit(main())

"""A release of drawn faces of every feature, to try models on: what they show is known, since they were drawn so.

    python tests/experiments/drawn_release.py drawn       # 640 pictures in the table's proportions; makes drawn/out
    agfd30k evaluate drawn/out --all --task detect --model opencv:yunet --by feature

No check has looked at the pictures: none is verified, and where the faces are is not known, so that any box counts.
"""

import argparse
import sys
from pathlib import Path

from builder.spec.table import DEFAULT, load
from tests.fixtures.drawn_release import write_release


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--count", type=int, default=640, help="drawings of all features (default: 640)")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        print(f"drawn_release: {arguments.folder} is there already; name a new folder", file=sys.stderr)
        return 2
    release, pictures = write_release(arguments.folder, arguments.count, 512, spec=load(), toml=DEFAULT)
    print(f"{release}: {len(pictures)} drawings")
    return 0


if __name__ == "__main__":
    sys.exit(main())

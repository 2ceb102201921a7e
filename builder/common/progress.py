"""Progress bars where somebody looks: on a terminal and in a notebook; a log has none."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def is_watched() -> bool:
    """Return True on a terminal and in a notebook."""
    return sys.stderr.isatty() or _in_notebook()


def progress_bar(*iterable: Any, **options: Any) -> Any:
    """Return a tqdm bar, a notebook's own in a notebook; it draws nothing where nobody looks. `options` are tqdm's."""
    if not _in_notebook():
        from tqdm import tqdm
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without ipywidgets the bar is text
            from tqdm.auto import tqdm
    return tqdm(*iterable, disable=not is_watched(), **options)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules

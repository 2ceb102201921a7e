"""AGFD-30K's builder: from a table of attributes to labelled, generated faces.

The rooms, in import order: `spec`, `prompts`, `plan`, `pipeline`, `checks`, `shards`, `card`, `release`, `generate`.
"""


class UserError(Exception):
    """Something the user can put right: shown as one line, exit status 2, no traceback."""

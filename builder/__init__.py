"""AGFD-30K's builder: from a table of attributes to labelled, generated faces.

A module imports only from rooms to its left: `spec`, `prompts`, `people`, `table`, `plan`, `pipeline`, `checks`,
`shards`, `raw`, `card`, `release`, `verify`, `run`, `generate`, and what each of them stands on.
"""


class UserError(Exception):
    """Something the user can put right: shown as one line, exit status 2, no traceback."""

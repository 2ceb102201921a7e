"""Why a model cannot be had: one exception a cause. What to do about it is added by the command, see `advice`."""

from __future__ import annotations

from builder.common.errors import UserError


class ModelError(UserError):
    """A model that cannot be had. `role` says what it is for, as in "safety checker", `name` which it is.

    Names of files and words of configs are somebody's: what would break the line, or steer a terminal, is a ?.
    """

    def __init__(self, role: str, name: str, cause: str):
        line = f"{role} {name}: {cause}"
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in line))
        self.role = role
        self.name = name


class NotThere(ModelError):
    """The Hub has no such repository, or a private one."""


class NoModel(ModelError):
    """What the words name is there, or is a path to nothing, and is no model of the kind that is wanted."""


class NoRevision(ModelError):
    """The repository has no such branch, tag or commit."""


class Gated(ModelError):
    """The repository's terms were not accepted."""


class WrongToken(ModelError):
    """The Hub does not know the token."""


class Unreachable(ModelError):
    """The Hub does not answer, and what is needed is not in the cache."""


class Interrupted(ModelError):
    """A download that broke off and could not be taken up again."""


class NoSpace(ModelError):
    """The disk is full, or would be."""


class NoCache(ModelError):
    """The folder that downloads go to cannot be written to."""


class Pickled(ModelError):
    """The weights are there as pickles only, which can run code and are not loaded."""


class Ambiguous(ModelError):
    """Several files could be meant."""


class Incomplete(ModelError):
    """A part is missing."""


class WrongKind(ModelError):
    """A model of another kind than those that run here."""


class Damaged(ModelError):
    """A file that cannot be read, or does not hold what it should."""

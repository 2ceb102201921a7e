"""AGFD-30K's builder: from a table of attributes to labelled, generated faces.

A `.py` directly in this folder is a command, a folder is a stage of the data's way. A stage imports only stages before
it: common, spec, plan, preview, models, checks, raw, generation, dataset, linting, reporting, judging, hub.
"""

import sys

if sys.argv[:1] == ["-m"]:  # what Python puts there while it looks up what `python -m` names
    from builder.common import cli

    cli.require_command(sys.orig_argv)

"""Drawn faces, and the training of the preview model on them; a tool of the project, not a part of the package."""

"""A stand-in for the real model, which needs no download and no GPU: it proves the tool, never the dataset."""

from __future__ import annotations


def build():
    """The preview as a StableDiffusionPipeline: for now one with random weights, whose pictures are patterns."""
    from builder.preview import random_weights  # torch and diffusers, which drawing does without

    return random_weights.build()

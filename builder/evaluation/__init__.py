"""Evaluation: what a release tells of models that are not ours."""

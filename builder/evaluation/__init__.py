"""Evaluation: where a user's face model fails on a release, slice by slice, with intervals that hold."""

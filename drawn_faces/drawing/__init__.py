"""Draws the face that labels ask for."""

"""Training of the preview model and of its verifier, on drawn faces."""

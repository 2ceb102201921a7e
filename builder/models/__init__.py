"""Models: which exact one is meant, loading it safely, and running it."""

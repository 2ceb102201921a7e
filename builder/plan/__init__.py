"""Which pictures are made: balanced, deterministic, and addressable by number."""

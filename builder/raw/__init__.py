"""The raw folder: its recipe, crash-safe shards of pictures and rows, receipts, and verification."""

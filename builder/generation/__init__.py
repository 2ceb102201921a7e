"""Making the pictures: the worker loop of one process, its batches, and duplicates that are taken back."""

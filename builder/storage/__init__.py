"""A raw build in an object store: immutable parts, receipts that name them, and who may write which."""

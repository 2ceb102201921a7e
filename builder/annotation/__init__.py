"""Annotations: what a model sees on a release's pictures, in Parquet files of their own beside them."""

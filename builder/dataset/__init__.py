"""From a raw build to a release: statistics, contact sheets, card, Parquet."""

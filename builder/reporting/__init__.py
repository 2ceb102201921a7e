"""A release as one HTML page to look at."""

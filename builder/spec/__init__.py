"""The table as values: features, prompts, what a picture must be like, and the rules for minors."""

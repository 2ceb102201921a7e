"""People's judgements of what pictures show, and how far the checks agree with them."""

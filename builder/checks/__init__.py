"""Does a picture show what was asked for? One module a check, one interface."""

"""A job at work: its waves, its money, a line's way from its candidate to the journal."""

"""Worker processes: their supervisor, their share of the limits, and their messages."""

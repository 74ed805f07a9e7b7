"""The audit outside Redis: who did what, as a chain of lines whose heads are signed."""

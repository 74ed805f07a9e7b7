"""What witboost sends, what it wants back, and what proves who we are to it."""

"""Transfer: a store's requests leave it and arrive in another."""

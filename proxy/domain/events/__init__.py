"""Events: everything that can happen to a request."""

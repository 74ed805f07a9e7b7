"""Explanations: what the proxy would do with a hook call."""

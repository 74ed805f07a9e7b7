"""Network addresses and URLs: which ones the proxy may call."""

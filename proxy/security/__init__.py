"""Security: keys, signatures, TLS and watched secret files."""

"""`check --live`: checks that call the configured systems."""

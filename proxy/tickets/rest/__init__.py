"""The `rest` adapter: any JSON API that a declaration describes."""

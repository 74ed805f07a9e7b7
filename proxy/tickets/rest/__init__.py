"""The `rest` ticket system: any JSON API, described by its declaration."""

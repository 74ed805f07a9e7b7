"""Observability: log lines, metrics and alarms."""

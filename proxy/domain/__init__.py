"""The rules, without any input or output: models, lifecycle, schedule, guards."""

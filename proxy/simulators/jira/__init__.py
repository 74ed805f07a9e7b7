"""The simulated Jira site."""

"""Jira Cloud, Jira Data Center and Jira Service Management."""

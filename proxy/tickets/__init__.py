"""Ticket systems: the port, and one folder for each kind."""

"""Ticket events: how a ticket system proves and describes what it pushes."""

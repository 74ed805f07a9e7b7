"""Outgoing HTTP: every call to another system goes through here."""

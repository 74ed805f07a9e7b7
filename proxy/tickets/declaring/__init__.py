"""Declarations: how settings describe a ticket system, and how calls are rendered from them."""

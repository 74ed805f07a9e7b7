"""The simulated ServiceNow instance."""

"""The simulated ticket desk."""

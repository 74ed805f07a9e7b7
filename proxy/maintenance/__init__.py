"""Maintenance: the doctor's findings and the export of a store."""

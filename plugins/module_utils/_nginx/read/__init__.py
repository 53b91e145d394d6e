"""Reads any configuration as nginx itself would."""

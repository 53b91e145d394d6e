"""Reads plain data into dataclasses. It knows no domain."""

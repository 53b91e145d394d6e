# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads plain data into dataclasses. It knows no domain."""

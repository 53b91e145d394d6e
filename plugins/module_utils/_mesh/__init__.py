# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mesh says: its gateways' addresses and labels, and their logs."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads any configuration as nginx itself would."""

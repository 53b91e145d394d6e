# SPDX-License-Identifier: GPL-3.0-or-later
"""One attempt on the wire and its cause. What runs on hosts needs the standard library alone."""

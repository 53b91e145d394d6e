# SPDX-License-Identifier: GPL-3.0-or-later
"""The one schema of gateways and routes: what a user writes once, and what every role reads."""

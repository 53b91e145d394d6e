# SPDX-License-Identifier: GPL-3.0-or-later
"""From routes to the configuration of a VM's nginx."""

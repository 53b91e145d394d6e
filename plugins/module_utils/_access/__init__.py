# SPDX-License-Identifier: GPL-3.0-or-later
"""Access control: from fronts and lists to objects for the cluster, and to probes that show how requests arrive and who is let in."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes nginx's configuration, all or nothing."""

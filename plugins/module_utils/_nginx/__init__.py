# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx on a host: a configuration written, read as nginx reads it, and changed as a transaction."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""What several modules document alike, because documentation fragments can't be nested."""

from __future__ import annotations

import yaml

from plugins.module_utils._secrets.arguments import SOURCE
from plugins.modules import tls_secret, tls_secret_export


def test_a_secret_as_source_is_documented_alike() -> None:
    copied = yaml.safe_load(tls_secret.DOCUMENTATION)["options"]["secrets"]["suboptions"]["from"]["suboptions"]["secret"]
    exported = yaml.safe_load(tls_secret_export.DOCUMENTATION)["options"]["exports"]["suboptions"]["secret"]
    assert copied["suboptions"] == exported["suboptions"]
    assert copied["suboptions"].keys() == SOURCE.keys()

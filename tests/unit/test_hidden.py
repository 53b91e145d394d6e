# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible may show of options that hold secrets somewhere inside."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from plugins.module_utils import _ansible
from plugins.module_utils._hidden import hide

CANARY = "canary-9e41"
USER = {"token": CANARY, "client-key-data": "a2V5", "exec": {"env": [{"name": "WORD", "value": "in-env"}]}}
KUBECONFIG = {
    "apiVersion": "v1",
    "clusters": [{"name": "c", "cluster": {"server": "https://c.example"}}],
    "users": [{"name": "u", "user": USER}, {"name": "other", "user": {"token": "other-token"}}],
}


def test_credentials_stay_hidden_and_nothing_else() -> None:
    no_log = {"v1", "c", "u", "https://c.example", CANARY, "a2V5", "WORD", "in-env", "other-token", "api-key"}
    shown = {"kubeconfig": KUBECONFIG}
    hide(no_log, shown)
    assert no_log == {CANARY, "a2V5", "in-env", "other-token", "api-key"}
    assert shown["kubeconfig"] == KUBECONFIG


def test_a_path_is_no_secret() -> None:
    no_log, shown = {"config"}, {"kubeconfig": "config"}
    hide(no_log, shown)
    assert (no_log, shown) == (set(), {"kubeconfig": "config"})


@pytest.mark.parametrize("text", [yaml.safe_dump(KUBECONFIG), json.dumps(KUBECONFIG), f"a: [{CANARY}\n"])
def test_a_kubeconfigs_text_is_not_shown(text: str) -> None:
    no_log, shown = {text}, {"kubeconfig": text}
    hide(no_log, shown)
    assert CANARY not in str(shown)


def test_a_credential_stays_hidden_where_the_same_word_stands_elsewhere() -> None:
    no_log = {"same", "web", "user-agent"}
    hide(no_log, {"api_key": "same", "proxy_headers": {"user_agent": "other"}, "secrets": [{"name": "web", "namespace": "same"}]})
    assert no_log == {"same", "user-agent"}


def test_of_an_option_with_keys_in_it_only_these_stay_hidden() -> None:
    no_log = {"web", "KEY", "7", "elsewhere", "C"}
    hide(no_log, {"secrets": [{"name": "web", "n": 7, "from": {"pem": {"key": "KEY", "ca": None}}}], "_files": [{"content": "C"}]})
    assert no_log == {"KEY", "elsewhere", "C"}


def test_definitions_are_shown_without_their_secrets() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "annotations": {"copy": CANARY}}, "stringData": {"a": CANARY}}
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
    for definitions in (
        [secret, plain, f"kind: Secret\nstringData: {{a: {CANARY}}}"],
        {"kind": "List", "items": [secret, [plain]]},
        [[secret]],
        CANARY,
    ):
        shown: dict[str, Any] = {"definitions": definitions}
        hide(set(), shown)
        assert CANARY not in str(shown)
    no_log, shown = {"v1", "ConfigMap", "c", "b", "another"}, {"definitions": [plain]}
    hide(no_log, shown)
    assert shown == {"definitions": [plain]}
    assert no_log == {"another"}


def test_every_module_hides_before_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        def __init__(self, **_arguments: Any) -> None:
            self.params = {"kubeconfig": KUBECONFIG}
            self.no_log_values = {"c", CANARY}

        def exit_json(self, **result: Any) -> None:
            assert result == {"seen": {CANARY, "a2V5", "in-env", "other-token"}}

    monkeypatch.setattr(_ansible, "AnsibleModule", Module)
    _ansible.run(lambda module, _params: {"seen": set(module.no_log_values)})

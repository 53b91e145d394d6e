# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube_api import Api, says, serving, thing

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube import packaged, simple
from plugins.module_utils._kube.arguments import CONNECTION_ARGUMENTS
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect, given
from plugins.module_utils._kube.errors import ApiError

CANARY = "canary-9e41"
OK = says(thing())


@pytest.fixture(autouse=True, params=["plain ones by ourselves", "all by the package"])
def _reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubeconfigs mean the same whoever reads them."""
    if request.param == "all by the package":
        monkeypatch.setattr(simple, "may_be", lambda _options: False)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration but the test's own."""
    for name in list(os.environ):
        if name.startswith(("K8S_AUTH_", "KUBE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def config(server: str, user: Any, **cluster: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [
            {"name": "c", "cluster": {"server": server, **cluster}},
            {"name": "broken", "cluster": {"server": "http://127.0.0.1:1"}},
        ],
        "users": [{"name": "u", "user": user}, {"name": "other", "user": {"token": "other-token"}}],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u"}},
            {"name": "two", "context": {"cluster": "c", "user": "other"}},
        ],
    }


def asked(client: Client, api: Api) -> Any:
    client.get("ConfigMap", "a", "n")
    return api.requests[-1].headers


def test_a_file_a_dictionary_and_text_all_work(tmp_path: Path) -> None:
    with serving(OK) as api:
        content = config(api.url, {"token": "t1"})
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(content))
        for kubeconfig in (str(file), content, file.read_text(), json.dumps(content)):
            assert asked(connect({"kubeconfig": kubeconfig}), api)["Authorization"] == "Bearer t1"
            assert asked(connect({"kubeconfig": kubeconfig, "context": "two"}), api)["Authorization"] == "Bearer other-token"


def test_variables_stand_in_for_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(OK) as api:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(config(api.url, {"token": "t1"})))
        monkeypatch.setenv("KUBECONFIG", str(file))
        assert asked(connect({}), api)["Authorization"] == "Bearer t1"
        monkeypatch.setenv("K8S_AUTH_CONTEXT", "two")
        assert asked(connect({}), api)["Authorization"] == "Bearer other-token"
        assert asked(connect({"context": "one"}), api)["Authorization"] == "Bearer t1"
        monkeypatch.setenv("KUBECONFIG", "/nonexistent")
        monkeypatch.setenv("K8S_AUTH_KUBECONFIG", str(file))
        assert asked(connect({}), api)["Authorization"] == "Bearer other-token"
        (tmp_path / ".kube").mkdir()
        (tmp_path / ".kube/config").write_text(yaml.safe_dump(config(api.url, {"token": "home"})))
        monkeypatch.delenv("K8S_AUTH_KUBECONFIG")
        monkeypatch.delenv("K8S_AUTH_CONTEXT")
        monkeypatch.delenv("KUBECONFIG")
        assert asked(connect({}), api)["Authorization"] == "Bearer home"


def test_several_files_are_merged(tmp_path: Path) -> None:
    with serving(OK) as api:
        content = config(api.url, {"token": "t1"})
        first, second = tmp_path / "a", tmp_path / "b"
        first.write_text(yaml.safe_dump({**content, "users": []}))
        second.write_text(yaml.safe_dump({"users": content["users"]}))
        assert asked(connect({"kubeconfig": f"{first}:{second}"}), api)["Authorization"] == "Bearer t1"


def test_options_outweigh_the_kubeconfig() -> None:
    with serving(OK) as api:
        content = config("http://127.0.0.1:1", {"token": "t1"})
        assert asked(connect({"kubeconfig": content, "host": api.url + "/", "api_key": "mine"}), api)["Authorization"] == "Bearer mine"


def test_a_host_and_credentials_are_enough() -> None:
    with serving(OK) as api:
        assert asked(connect({"host": api.url, "api_key": "k"}), api)["Authorization"] == "Bearer k"
        basic = base64.b64encode(b"u:p").decode()
        assert asked(connect({"host": api.url, "username": "u", "password": "p"}), api)["Authorization"] == f"Basic {basic}"
        client = connect({"host": f"{api.url}/k8s/clusters/c-1/", "api_key": "k"})
        client.get("ConfigMap", "a", "n")
        assert api.requests[-1].path == "/k8s/clusters/c-1/api/v1/namespaces/n/configmaps/a"


def test_every_option_has_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"bool": "no", "list": "a, b,", "dict": "", "str": "word", "path": "word", "raw": "word"}
    for option, spec in CONNECTION_ARGUMENTS.items():
        for name in [option, *spec.get("aliases", [])] if spec["type"] != "dict" else []:
            with monkeypatch.context() as patch:
                patch.setenv(f"K8S_AUTH_{name.upper()}", words[spec["type"]])
                assert given({}) == {option: {"bool": False, "list": ["a", "b"]}.get(spec["type"], "word")}
    monkeypatch.setenv("K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH", "u:p")
    assert given({}) == {"proxy_headers": {"proxy_basic_auth": "u:p"}}
    assert given({"proxy_headers": {"user_agent": "x", "basic_auth": None}}) == {"proxy_headers": {"user_agent": "x"}}
    assert given({"validate_certs": False, "context": "", "impersonate_groups": []}) == {
        "validate_certs": False,
        "proxy_headers": {"proxy_basic_auth": "u:p"},
    }


def test_impersonation_sends_every_group() -> None:
    with serving(OK) as api:
        headers = asked(connect({"host": api.url, "api_key": "k", "impersonate_user": "bob", "impersonate_groups": ["a", "b"]}), api)
        assert headers["Impersonate-User"] == "bob"
        assert headers.get_all("Impersonate-Group") == ["a", "b"]


def plugin(tmp_path: Path, body: str) -> dict[str, Any]:
    script = tmp_path / "plugin.py"
    script.write_text(f"import json, os, sys\n{body}\n")
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script)],
            "env": [{"name": "WORD", "value": CANARY}],
        }
    }


SAY = "print(json.dumps({{'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', 'status': {}}}))"


def test_an_exec_plugin_gives_a_token(tmp_path: Path) -> None:
    with serving(OK) as api:
        user = plugin(tmp_path, SAY.format("{'token': 'from-' + os.environ['WORD']}"))
        assert asked(connect({"kubeconfig": config(api.url, user)}), api)["Authorization"] == f"Bearer from-{CANARY}"


def test_an_exec_plugin_runs_again_when_its_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    count = f"path = {str(tmp_path / 'count')!r}; n = int(open(path).read()) + 1; open(path, 'w').write(str(n))\n"
    user = plugin(tmp_path, count + SAY.format("{'token': 'token-%d' % n}"))

    def answer(handler: Any) -> None:
        good = handler.headers["Authorization"] == "Bearer token-2"
        (OK if good else says({"kind": "Status", "reason": "Unauthorized"}, 401))(handler)

    with serving(answer) as api:
        assert asked(connect({"kubeconfig": config(api.url, user)}), api)["Authorization"] == "Bearer token-2"
        assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit('please log in')", "exec: process returned 1. please log in"),
        ("print('{')", "failed to decode process output"),
        ("print('{}')", "missing key"),
        (SAY.format("{}"), "missing token"),
    ],
)
def test_a_failing_exec_plugin_is_named(tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(EdgeError, match="the kubeconfig's credentials can't be obtained") as caught:
        connect({"kubeconfig": config("https://127.0.0.1:1", plugin(tmp_path, body))})
    assert words in caught.value.why
    assert caught.value.code == "CREDENTIALS"


def test_a_missing_exec_plugin_is_named() -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin-anywhere"}}
    with pytest.raises(EdgeError, match="no-such-plugin-anywhere"):
        connect({"kubeconfig": config("https://127.0.0.1:1", user)})


@pytest.mark.parametrize(
    ("kubeconfig", "words"),
    [
        ({"clusters": []}, "lacks current-context"),
        ({"current-context": "x", "contexts": []}, "no entry named x"),
        ({"current-context": "x", "contexts": "y"}, "can't be used"),
        (f"a: [{CANARY}\n", "not YAML: line 2"),
        (f"token: {CANARY}: {CANARY}\n", "not YAML"),
        (f"{CANARY}\n", "lacks current-context"),
        ("\n", "can't be used"),
    ],
)
def test_a_broken_kubeconfig_is_an_error_that_quotes_nothing(kubeconfig: Any, words: str) -> None:
    with pytest.raises(EdgeError, match=words) as caught:
        connect({"kubeconfig": kubeconfig})
    assert CANARY not in str(caught.value.as_result())
    assert caught.value.code == "NO_CONFIGURATION"


def test_an_incomplete_entry_is_named_without_its_token(tmp_path: Path) -> None:
    broken = config("https://127.0.0.1:1", {"token": CANARY})
    broken["contexts"][0]["context"] = {"user": "u", "note": CANARY}
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(broken))
    for kubeconfig in (broken, str(file)):
        with pytest.raises(EdgeError, match="it lacks cluster") as caught:
            connect({"kubeconfig": kubeconfig})
        assert CANARY not in str(caught.value.as_result())


def test_key_material_that_is_no_key_is_an_error_that_quotes_nothing() -> None:
    junk = base64.b64encode(CANARY.encode()).decode()
    for user in (
        {"client-certificate-data": junk, "client-key-data": junk},
        {"client-certificate-data": CANARY + "!", "client-key-data": "x"},
    ):
        with pytest.raises(EdgeError) as caught:
            connect({"kubeconfig": config("https://127.0.0.1:1", user)})
        assert CANARY not in str(caught.value.as_result())
        assert junk not in str(caught.value.as_result())
    with pytest.raises(EdgeError, match="the cluster's CA can't be used"):
        connect({"kubeconfig": config("https://127.0.0.1:1", {}, **{"certificate-authority-data": junk})})
    with pytest.raises(EdgeError, match=r"CA can't be used: No such file"):
        connect({"host": "https://127.0.0.1:1", "api_key": "k", "ca_cert": "/nonexistent"})


def test_where_there_is_no_configuration_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match=r"kubeconfig ~/\.kube/config on .*no connection option, no K8S_AUTH_\* variable, not in a pod"):
        connect({})
    with pytest.raises(EdgeError, match="there is no kubeconfig"):
        connect({"kubeconfig": "/nonexistent"})
    if os.geteuid():
        file = tmp_path / "config"
        file.write_text("x")
        file.chmod(0)
        with pytest.raises(EdgeError, match="Permission denied"):
            connect({"kubeconfig": str(file)})
    with pytest.raises(EdgeError, match="Is a directory"):
        connect({"kubeconfig": str(tmp_path)})


def test_a_pods_service_account_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import kubernetes.config.incluster_config as incluster

    token, ca = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("pod-token\n")
    ca.write_bytes(Path("/etc/ssl/certs/ca-certificates.crt").read_bytes())
    monkeypatch.setattr(incluster, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster, "SERVICE_CERT_FILENAME", str(ca))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    client = connect({})
    assert client._transport.host == "https://127.0.0.1:1"
    assert ("authorization", "bearer pod-token") in client._transport._headers()


def test_no_key_stays_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    junk = base64.b64encode(pem).decode()
    with pytest.raises(EdgeError):
        connect({"kubeconfig": config("https://127.0.0.1:1", {"client-certificate-data": junk, "client-key-data": junk})})
    assert [path for path in tmp_path.rglob("*") if not stat.S_ISDIR(path.stat().st_mode)] == []


@pytest.mark.parametrize(
    ("user", "cluster", "plain"),
    [
        ({"token": "t"}, {}, True),
        ({}, {"insecure-skip-tls-verify": True, "tls-server-name": "x", "extensions": []}, True),
        ({"exec": {}}, {}, False),
        ({"auth-provider": {}}, {}, False),
        ({"username": "u", "password": "p"}, {}, False),
        ({"token": 5}, {}, False),
        ({"tokenFile": "/nonexistent"}, {}, False),
        ({"client-certificate": "/nonexistent"}, {}, False),
        ({"client-certificate-data": "a"}, {}, False),
        ({"token": "t"}, {"proxy-url": "http://p.example"}, False),
        ({"token": "t"}, {"insecure-skip-tls-verify": "yes"}, False),
    ],
)
def test_only_plain_kubeconfigs_are_read_without_the_package(user: Any, cluster: Any, plain: bool, tmp_path: Path) -> None:
    content = config("https://c.example", user, **cluster)
    assert (simple.from_content(content, None, str(tmp_path)) is not None) is plain
    assert simple.from_content(config("c.example", user, **cluster), None, str(tmp_path)) is None
    twice = {**content, "users": content["users"] * 2}
    for broken in (twice, {**content, "contexts": []}, {**content, "current-context": None}, {}, None, "x"):
        assert simple.from_content(broken, None, str(tmp_path)) is None


PEM = base64.b64encode(b"embedded").decode()
FILES = {"ca.crt": "the CA", "sub/tls.crt": "a certificate", "sub/tls.key": "a key", "token": "of a file\n"}


@pytest.mark.parametrize(
    ("user", "cluster", "plain"),
    [
        ({"token": "t", "client-certificate-data": "", "client-key-data": ""}, {"certificate-authority-data": ""}, True),
        ({"token": "t", "client-certificate": "", "client-key": ""}, {}, False),
        ({"token": "", "tokenFile": "token"}, {}, True),
        ({"token": "t", "tokenFile": "token"}, {}, True),
        ({"token": " t\n"}, {}, True),
        ({"tokenFile": "token"}, {"certificate-authority": "ca.crt"}, True),
        ({"tokenFile": ""}, {}, False),
        ({"client-certificate": "sub/tls.crt", "client-key": "sub/../sub/tls.key"}, {"certificate-authority": "./ca.crt"}, True),
        ({"client-certificate": "sub/tls.crt", "client-certificate-data": PEM, "client-key-data": PEM}, {}, True),
        ({"client-certificate": "sub/tls.crt", "client-certificate-data": ""}, {"certificate-authority-data": PEM}, True),
        ({"client-certificate-data": None, "token": "t"}, {}, False),
        ({}, {"insecure-skip-tls-verify": True, "certificate-authority": "ca.crt"}, True),
        ({}, {"insecure-skip-tls-verify": False, "tls-server-name": ""}, True),
        ({"token": "t"}, {"tls-server-name": "kubernetes.default"}, True),
        ({"client-certificate": "sub/tls.crt"}, {"server": "http://c.example"}, True),
        ({"token": "t"}, {"server": "https://c.example/k8s/"}, True),
        ({"token": "t"}, {"proxy-url": "http://p.example"}, False),
        ({"token": "t"}, {"proxy-url": ""}, False),
        ({"username": "u", "password": "p"}, {}, False),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "true"}}, {}, False),
    ],
)
@pytest.mark.parametrize("form", ["file", "dictionary", "several files"])
def test_an_odd_kubeconfig_means_to_us_what_it_means_to_the_package(
    user: Any, cluster: Any, plain: bool, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    content = config(**{"server": "https://c.example", "user": user, **cluster})
    (tmp_path / "config").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path if form == "dictionary" else "/")
    path = f"{tmp_path}/none:{tmp_path}/config" if form == "several files" else f"{tmp_path}/config"
    options = {"kubeconfig": content if form == "dictionary" else path}
    ours = simple.from_content(content, None, str(tmp_path)) if form == "dictionary" else simple.from_file(path, None, str(tmp_path))
    assert (ours is not None) is (plain and form != "several files")
    if ours is not None:
        assert meaning(ours) == meaning(packaged.load(options, str(tmp_path / "made"), complete=False))
    simple.forget()


def meaning(configuration: Any) -> dict[str, Any]:
    """What a connection takes from a configuration."""
    texts = ("host", "verify_ssl", "tls_server_name", "proxy", "username", "password")
    files = {name: getattr(configuration, name) for name in ("ssl_ca_cert", "cert_file", "key_file")}
    return {
        **{name: getattr(configuration, name) or None for name in texts},
        **{name: Path(path).read_text() if path else None for name, path in files.items()},
        "sent": [each["value"].strip() for each in configuration.auth_settings().values()],
    }


def test_a_plain_kubeconfig_does_not_import_the_package(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config("https://c.example", {"token": "t"})))
    code = f"""
import sys
from plugins.module_utils._kube.connection import connect
connect({{"kubeconfig": {str(file)!r}}})
assert "kubernetes" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_a_proxy_of_the_environment_is_the_packages_business(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not simple.may_be({"kubeconfig": "x", "proxy": "http://p.example"})
    monkeypatch.setenv("HTTPS_PROXY", "http://p.example")
    assert not simple.may_be({"kubeconfig": "x"})


def test_a_missing_library_is_named_with_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.client.rest", None)
    with pytest.raises(EdgeError, match="the Python library kubernetes is missing") as caught:
        connect({})
    assert sys.executable in caught.value.where


def test_no_connection_changes_what_all_of_them_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread would do it while another reads it, which in Python's ssl is a use of memory that was given back."""
    was, calls = ssl.SSLContext.set_alpn_protocols, []

    def counted(context: ssl.SSLContext, protocols: list[str]) -> None:
        calls.append(protocols)
        was(context, protocols)

    monkeypatch.setattr(ssl.SSLContext, "set_alpn_protocols", counted)
    with serving() as api:
        transport = connect({"host": api.url.replace("http:", "https:"), "api_key": "k", "validate_certs": False})._transport
        for _connection in range(3):
            with pytest.raises(ApiError) as caught:
                transport.send("GET", "/", {})
            assert caught.value.code == "TLS", "it came as far as the handshake"
    assert calls == [["http/1.1"]]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module that handles keys or could, in every state a task may end in; adding one is a function and a line in SUBJECTS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from plugins.module_utils._proof.carried import Seen
from plugins.module_utils._routes.reading import Reading

NAMESPACE = "edgemesh.nginx_istio."
Task = dict[str, Any]
KEY, CRT = "{{ canary.key }}", "{{ canary.crt }}"


@dataclass(frozen=True)
class Scene:
    """Where a play happens: its objects in the cluster, its folder on the host, servers to talk to."""

    namespace: str
    name: str
    folder: Path
    local: bool
    pipelining: bool
    #: also the further ways to fail
    full: bool
    tls_port: int
    silent_port: int

    def secret(self, name: str = "", **more: Any) -> dict[str, Any]:
        return {"namespace": self.namespace, "name": f"{self.name}-{name}".rstrip("-"), **more}


class States:
    """The tasks of one module; each must end as its name says."""

    def __init__(self, scene: Scene, module: str) -> None:
        self.scene, self.module = scene, NAMESPACE + module
        self.tasks: list[Task] = []
        self.expected: dict[str, str] = {}

    def add(self, name: str, end: str, arguments: dict[str, Any], said: str = "", **keywords: Any) -> None:
        """A task that must end as ``ok``, ``changed`` or ``failed``; ``said`` must be in a failure's message."""
        self.expected[name] = f"{end}:{said}"
        self.tasks.append({"name": name, self.module: arguments, "ignore_errors": end == "failed", "diff": True, **keywords})

    def more(self, name: str, end: str, arguments: dict[str, Any], said: str = "", **keywords: Any) -> None:
        """A task of the long form."""
        if self.scene.full:
            self.add(name, end, arguments, said, **keywords)

    def background(self, end: str, arguments: dict[str, Any]) -> None:
        """``async``, which Ansible does not pipeline."""
        if self.scene.full and not self.scene.pipelining:
            self.add("in the background", end, arguments, **{"async": 60, "poll": 1})

    def work(self, name: str, module: str, arguments: dict[str, Any]) -> None:
        """A task of another module, in between."""
        self.tasks.append({"name": name, f"ansible.builtin.{module}": arguments})

    def poisoned(
        self, arguments: dict[str, Any], place: str = "ssl:SSLContext.load_cert_chain", said: str = "unexpected RuntimeError"
    ) -> None:
        """The two ends that the module doesn't foresee: an exception with the key in its text, and a kill by Ansible's own time-out."""
        poison = {"EDGEMESH_POISON": place, "EDGEMESH_KEY": f"{self.scene.folder}/key"}
        # With it in the task, a module would not run in Ansible's own process: there Ansible itself has it.
        poison.update({} if self.scene.local else {"PYTHONPATH": f"{self.scene.folder}/poison"})
        self.add("exception", "failed", arguments, said, environment=poison)
        self.add("time-out", "failed", arguments, "Timed out", environment={**poison, "EDGEMESH_SLEEP": "4"}, timeout=1)


def kube(**more: Any) -> dict[str, Any]:
    """Credentials with a key of their own among the options."""
    return {"kubeconfig": "{{ kubeconfig }}", **more}


def silent(**more: Any) -> dict[str, Any]:
    """An API server that takes connections and says nothing."""
    return {"kubeconfig": "{{ silent_kubeconfig }}", "timeout": 1, **more}


def credentials(states: States, arguments: dict[str, Any], refused: str = "failed") -> None:
    """Keys in every option that takes credentials. Not in the place of a path, which Ansible itself prints and logs."""
    for name, options in {
        "token is a key": {"api_key": KEY, "host": "https://127.0.0.1:1", "timeout": 1},
        "kubeconfig is a key": {"kubeconfig": KEY, "timeout": 1},
        "kubeconfig is broken": {"kubeconfig": "users: [{user: {client-key-data: '{{ canary.key | b64encode }}'\n: [", "timeout": 1},
    }.items():
        states.more(name, refused if "host" in options else "failed", {**options, **arguments})


def tls_secret(scene: Scene) -> States:
    states = States(scene, "tls_secret")

    def secrets(*listed: dict[str, Any], **more: Any) -> dict[str, Any]:
        return kube(secrets=list(listed), **more)

    def pem(certificate: str = CRT, key: str = KEY) -> dict[str, Any]:
        return {"from": {"pem": {"certificate": certificate, "key": key}}}

    given, ca = scene.secret("given", **pem()), scene.secret("ca")
    issued = secrets({**ca, "issue": {"usage": "ca"}}, scene.secret("leaf", issue={"ca": ca, "names": ["a"]}))
    states.add("check", "changed", secrets(given), check_mode=True)
    states.add("changed", "changed", secrets(given))
    states.add("ok", "ok", secrets(given))
    states.more("issued", "changed", issued)
    made, routes = scene.secret("shared", labels={"app.kubernetes.io/component": "private-ca"}), {"name": scene.name, "present": ["a"]}
    shared = secrets({**made, "issue": {"ca": ca}, "users": {"a": ["a"]}}, route_list=routes)
    unneeded = {"state": "unneeded", "namespaces": [scene.namespace], "route_list": {"name": scene.name, "exclusive": True}}
    states.more("for a route", "changed", shared)
    states.more("another list's", "failed", {**shared, "route_list": {"name": "other", "present": ["a"]}}, "belongs to")
    states.more(
        "a CA in use", "failed", secrets(**unneeded, authorities=[{"namespace": scene.namespace, "name": f"{scene.name}-ca"}]), "in use"
    )
    states.more("a key as a route", "failed", secrets({**made, "issue": {"ca": ca}, "users": {KEY: ["a"]}}, route_list=routes))
    states.more("unneeded", "changed", secrets(**unneeded))
    states.add("replaced", "changed", secrets(scene.secret("given", **pem("{{ other.crt }}", "{{ other.key }}"))))
    states.background("changed", secrets(given))
    wrong = {
        "key of another": pem(key="{{ other.key }}"),
        "key cut off": pem(key="{{ canary.key[:120] }}"),
        "key in the chain": pem(CRT + KEY),
        "key as the certificate": pem(KEY),
        "key on one line": pem(key="{{ canary.key | replace('\n', ' ') }}"),
        "key encoded once more": pem(key="{{ canary.key | b64encode }}"),
        "unknown option": {"from": {"pem": {"certificate": CRT, "key": KEY, "x": 1}}},
        "wrong option": {**pem(), "for": "nobody"},
        "wrong type": {"from": {"pem": KEY}},
    }
    for name, source in wrong.items():
        (states.add if name == "key of another" else states.more)(name, "failed", secrets(scene.secret("bad", **source)))
    states.more("no namespace", "failed", secrets({**given, "namespace": "edgemesh-test-none"}))
    credentials(states, {"secrets": [given]})
    states.add("silent API", "failed", silent(secrets=[given]))
    states.poisoned(secrets(given))
    states.add("gone", "changed", secrets(given, state="absent"))
    return states


def tls_secret_export(scene: Scene) -> States:
    """Its Secrets are there before: canary, other, bad (key of another), junk (key cut off)."""
    states = States(scene, "tls_secret_export")

    def export(name: str = "canary", to: str = "tls", **more: Any) -> dict[str, Any]:
        folder = f"{scene.folder}/{to}"
        return {"secret": scene.secret(name), "cert": f"{folder}/crt", "key": f"{folder}/key", **more}

    def exports(*listed: dict[str, Any], **more: Any) -> dict[str, Any]:
        return kube(exports=list(listed), **more)

    states.add("check", "changed", exports(export()), check_mode=True)
    states.add("changed", "changed", exports(export()))
    states.add("ok", "ok", exports(export()))
    states.add("replaced", "changed", exports(export("other", backup=True)))
    states.more("not writable", "failed", exports({"secret": scene.secret("canary"), "key": "/proc/key"}))
    states.add("no such owner", "failed", exports(export(owner="nobody-here")))
    states.more("key of another", "failed", exports(export("bad")))
    states.more("key cut off", "failed", exports(export("junk")))
    credentials(states, {"exports": [export()]})
    states.add("silent API", "failed", silent(exports=[export()]))
    states.poisoned(exports(export()), "os:fsync")
    states.add("gone", "changed", exports(export(), state="absent"))
    return states


def k8s_objects(scene: Scene) -> States:
    states = States(scene, "k8s_objects")
    metadata = scene.secret("object")

    def objects(*definitions: Any, **more: Any) -> dict[str, Any]:
        return kube(definitions=list(definitions), **more)

    def secret(**content: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **content}

    plain = secret(stringData={"tls.key": KEY, "note": "a"})
    encoded = secret(data={"tls.key": "{{ canary.key | b64encode }}", "note": "Yg=="})
    states.add("check", "changed", objects(plain), check_mode=True)
    states.add("changed", "changed", objects(plain))
    states.add("ok", "ok", objects(plain))
    states.add("replaced", "changed", objects(encoded))
    states.background("changed", objects(plain))
    states.add("not base64", "failed", objects(secret(data={"tls.key": KEY})))
    states.more("wrong type", "failed", objects(secret(data=KEY)))
    states.more("type can't change", "failed", objects({**encoded, "type": "kubernetes.io/tls"}))
    states.add("broken YAML", "failed", kube(definitions="kind: Secret\nstringData:\n  key: {{ canary.key | to_json }}\n : ["))
    states.more("no namespace", "failed", objects({**plain, "metadata": {**metadata, "namespace": "edgemesh-test-none"}}))
    states.more("no YAML in a file", "failed", kube(src=[f"{scene.folder}/key"]))
    credentials(states, {"definitions": [plain]})
    states.add("silent API", "failed", silent(definitions=[plain]))
    states.poisoned(objects(plain))
    states.add("gone", "changed", objects(plain, state="absent"))
    return states


def tls_secret_info(scene: Scene) -> States:
    """The Secrets of the export."""
    listed = [scene.secret(name) for name in ("canary", "other", "bad", "junk")]
    states = _reader(States(scene, "tls_secret_info"), {"secrets": listed}, {"secrets": [scene.secret("none")]}, missing="ok")
    states.add("waits in vain", "failed", kube(secrets=listed, wait=True, timeout=2), "timed out after 2 s")
    states.more("by namespace", "ok", kube(select=[{"namespace": scene.namespace}]))
    return states


def node_port_info(scene: Scene) -> States:
    return _reader(
        States(scene, "node_port_info"), {"services": [{"namespace": "default", "name": "kubernetes"}]}, {"services": [scene.secret()]}
    )


def k8s_objects_info(scene: Scene) -> States:
    """Secrets are refused before anything is asked for."""
    good = {"queries": [{"kind": "ConfigMap", "namespace": "default"}]}
    return _reader(States(scene, "k8s_objects_info"), good, {"queries": [{"kind": "Secret", "namespace": "default"}]})


def gateway_log_info(scene: Scene) -> States:
    """A log that can't be read is no failure."""
    bad = {"gateways": ["default/none"], "contains": "x"}
    return _reader(
        States(scene, "gateway_log_info"), {"gateways": ["default/kubernetes"], "contains": "x"}, bad, refused="ok", missing="ok"
    )


def _reader(states: States, good: dict[str, Any], bad: dict[str, Any], refused: str = "failed", missing: str = "failed") -> States:
    """A module that changes nothing; how it ends when the API refuses, and when what it asks for is not there."""
    states.add("check", "ok", kube(**good), check_mode=True)
    states.add("ok", "ok", kube(**good))
    states.background("ok", kube(**good))
    credentials(states, good, refused)
    states.more("nothing there", missing, kube(**bad))
    states.add("silent API", refused, silent(**good))
    states.poisoned(kube(**good))
    return states


def edge_probe(scene: Scene) -> States:
    states = States(scene, "edge_probe")

    def probe(port: int = scene.tls_port, cert: str = "crt", key: str = "key", ca: str = "", **more: Any) -> dict[str, Any]:
        client = {"cert_file": f"{scene.folder}/{cert}", "key_file": f"{scene.folder}/{key}"}
        tls = {"verify_name": "shop.example.com", "client": client, "ca_file": ca or f"{scene.folder}/ca"}
        return {"paths": [{"name": "a", "address": "127.0.0.1", "port": port, "tls": tls, "http": {}}], "attempt_timeout": 2, **more}

    states.add("check", "ok", probe(), check_mode=True)
    states.add("ok", "ok", probe())
    states.add("nobody there", "failed", probe(port=1))
    states.more("key of another", "failed", probe(key="other.key"))
    states.add("key as certificate", "failed", probe(cert="key"))
    states.more("key as CA", "failed", probe(ca=f"{scene.folder}/key"))
    states.add("silent server", "failed", probe(port=scene.silent_port, attempt_timeout=1))
    states.poisoned(probe())
    return states


def proof_report(scene: Scene) -> States:
    """It works in Ansible's process, wherever the host is."""
    states = States(scene, "proof_report")
    report = f"{scene.folder}/report"

    seen = {"vars": {"seen": asdict(Seen("a", []))}}

    def judged(path: str = report, **more: Any) -> dict[str, Any]:
        return {"routes": Reading.of_variables({}).text(), "seen": ["{{ seen | to_json }}"], "report_dir": path, **more}

    states.add("check", "ok", judged(), check_mode=True, **seen)
    states.add("ok", "ok", judged(), **seen)
    states.add("no folder", "failed", judged(f"{scene.folder}/crt/report"), "the report can't be written", **seen)
    states.add("a key for evidence", "failed", judged(seen=[KEY]), "Pass `evidence`")
    states.more("no such option", "failed", judged(of="nobody"), "Unsupported parameters", **seen)
    return states


def proof_probe(scene: Scene) -> States:
    """What nginx prints may hold a key, and so may the file that shall be its certificate."""
    states = States(scene, "proof_probe")

    def look(*nginx: str, **more: Any) -> dict[str, Any]:
        files = {"cert_file": f"{scene.folder}/key", "key_file": f"{scene.folder}/key"}
        service = {"namespace": scene.namespace, "name": "web", "port": 80}
        route = {"name": "a", "host": "a.example.com", "listen": {"certificate": files}, "paths": [{"path": "/", "service": service}]}
        given = {"address": "127.0.0.1", "run": "r1", "gateways": {"main": ["127.0.0.1:1"]}, "nginx": list(nginx)}
        return {
            "kind": "vm_nginx",
            "routes": Reading.of_variables({"edge_routes": [route]}).text(),
            "given": given,
            "attempt_timeout": 1,
            **more,
        }

    states.add("check", "ok", look("cat", f"{scene.folder}/key"), check_mode=True)
    states.add("ok", "ok", look("cat", f"{scene.folder}/key"))
    states.add("no nginx", "ok", look(f"{scene.folder}/key"))
    states.add("a key for what is asked", "failed", {"asked": [KEY]}, "Pass `asked`")
    states.more("no such option", "failed", look("true", of="nobody"), "Unsupported parameters")
    return states


def read_routes(scene: Scene) -> States:
    """A key where a survey's user may paste one."""
    states = States(scene, "read_routes")
    route = {"name": "a", "host": "a.example.com", "listen": {"certificate": "c"}, "paths": [{"service": {}}]}
    states.add("check", "ok", {}, check_mode=True)
    states.add("ok", "ok", {})
    states.add("key for a host", "failed", {}, vars={"edge_host": KEY, "edge_service": "web"})
    states.add("key for a certificate", "failed", {}, vars={"edge_routes": [{**route, "listen": {"certificate": KEY}}]})
    states.more("key for the list", "failed", {}, vars={"edge_routes": KEY})
    states.more("key for a namespace", "failed", {}, vars={"edge_routes": [route], "edge_namespace": KEY})
    states.more("no such option", "failed", {"of": "nobody"}, "Unsupported parameters")
    return states


def edge_diagnose(scene: Scene) -> States:
    """What nginx prints may hold a key."""
    states = States(scene, "edge_diagnose")

    def ask(*nginx: str, **more: Any) -> dict[str, Any]:
        return {"host": "a.example.com", "gateway": ["127.0.0.1:1"], "nginx": list(nginx), "attempt_timeout": 1, **more}

    states.add("check", "ok", ask("cat", f"{scene.folder}/key"), check_mode=True)
    states.add("a key for a configuration", "ok", ask("cat", f"{scene.folder}/key"))
    states.add("no nginx", "ok", ask(f"{scene.folder}/key"))
    states.more("no such option", "failed", ask("true", of="nobody"), "Unsupported parameters")
    return states


def access_plan(scene: Scene) -> States:
    return _access(States(scene, "access_plan"), {"detect": False})


def gateway_routes_change(scene: Scene) -> States:
    """A template of the user's own may render a Secret too."""
    states = States(scene, "gateway_routes_change")
    said = Reading.of_variables({"edge_gateways": {"main": {"namespace": scene.namespace, "service": "none"}}})

    def change(*definitions: Any, **more: Any) -> dict[str, Any]:
        return kube(read=said.text(), definitions=list(definitions), **more)

    plain = {"apiVersion": "v1", "kind": "Secret", "metadata": scene.secret("route"), "stringData": {"tls.key": KEY}}
    states.add("a key for what was read", "failed", kube(read=KEY))
    states.add("check", "changed", change(plain), check_mode=True)
    states.add("changed", "changed", change(plain))
    states.add("not base64", "failed", change({**plain, "data": {"tls.key": KEY}}))
    credentials(states, {"read": said.text(), "definitions": [plain]})
    states.add("silent API", "failed", silent(read=said.text(), definitions=[plain]))
    states.add("gone", "ok", change(state="absent", all_lists=True))
    states.more("no such option", "failed", change(of="nobody"), "Unsupported parameters")
    return states


def access_settled(scene: Scene) -> States:
    return _access(States(scene, "access_settled"), {"stage": "started"})


def _access(states: States, options: dict[str, Any]) -> States:
    """It asks the cluster about the gateways of a route with a list."""
    where = {"main": {"namespace": "default", "service": "kubernetes"}}
    route = {
        "name": "a",
        "host": "a.example.com",
        "listen": {"certificate": "c"},
        "paths": [{"service": {"namespace": "default", "name": "web", "port": 80}}],
        "access": {"deny": ["203.0.113.0/24"]},
    }
    good = {**options, "read": Reading.of_variables({"edge_gateways": where, "edge_routes": [route]}).text()}
    states.add("a key for what was read", "failed", kube(**{**good, "read": KEY}))
    credentials(states, good)
    states.add("silent API", "failed", silent(**good))
    states.more("no such option", "failed", kube(**good, of="nobody"), "Unsupported parameters")
    return states


def probe_pod_info(scene: Scene) -> States:
    """Credentials of a kubeconfig that no pod can be reached by: no failure, but a reason."""
    states = States(scene, "probe_pod_info")
    pod = {"namespace": scene.namespace, "image": "localhost/edgemesh/none:1"}
    states.add("check", "ok", kube(**pod), check_mode=True)
    states.add("ok", "ok", kube(**pod))
    states.add("token is a key", "ok", {**pod, "api_key": KEY, "host": "https://127.0.0.1:1"})
    states.more("kubeconfig is a key", "ok", {**pod, "kubeconfig": KEY})
    states.more("no image", "ok", kube(namespace=scene.namespace))
    return states


def pod_port_info(scene: Scene) -> States:
    service = {"services": [{"namespace": "default", "name": "kubernetes", "port": 443}]}
    return _reader(States(scene, "pod_port_info"), service, {"services": [{**scene.secret(), "port": 443}]}, missing="ok")


def nginx_info(scene: Scene) -> States:
    """A file with a key for the program."""
    states = States(scene, "nginx_info")
    states.add("check", "ok", {}, check_mode=True)
    states.add("a key for nginx", "ok", {"binary": f"{scene.folder}/key"})
    states.more("no such option", "failed", {"of": "nobody"}, "Unsupported parameters")
    return states


def nginx_config(scene: Scene) -> States:
    states = States(scene, "nginx_config")
    main = f"{scene.folder}/nginx/nginx.conf"
    # Two plays run at a time, and from the name comes the address at which an nginx confirms.
    name = Path(scene.folder).name

    def config(text: str = "", **more: Any) -> dict[str, Any]:
        material = [f"{scene.folder}/{name}" for name in ("crt", "key")]
        server = (
            f"server {{ listen unix:{scene.folder}/nginx/socket ssl; ssl_certificate {material[0]}; ssl_certificate_key {material[1]}; }}"
        )
        files = [{"path": "a.conf", "content": text or server}]
        return {"files": files, "depends_on": material, "name": name, "main": main, "manager": "signal", "timeout": 5, **more}

    wrong_key = (
        f"server {{ listen unix:{scene.folder}/s ssl; ssl_certificate {scene.folder}/crt; ssl_certificate_key {scene.folder}/other.key; }}"
    )
    states.add("check", "changed", config(), check_mode=True)
    states.add("changed", "changed", config())
    states.add("ok", "ok", config())
    states.work(
        "another key", "copy", {"src": f"{scene.folder}/other.key", "dest": f"{scene.folder}/nginx/key", "remote_src": True, "mode": "0600"}
    )
    states.more("key as configuration", "failed", config(f"include {scene.folder}/key;"))
    states.add("key as certificate", "failed", config(wrong_key.replace("/crt;", "/key;")))
    states.poisoned(config("# another"), "subprocess:run")
    states.add("gone", "changed", {"state": "absent", "name": name, "main": main, "manager": "signal"})
    states.work("stop", "shell", {"cmd": f"kill $(cat {scene.folder}/nginx/pid)"})
    return states


#: What is done in Ansible's own process where the host is the controller, or wherever it is: nothing is written on the way.
IN_PROCESS = frozenset(
    {
        "tls_secret", "tls_secret_info", "k8s_objects", "k8s_objects_info", "edge_probe", "gateway_log_info", "node_port_info",
        "pod_port_info", "probe_pod_info", "access_plan", "access_settled", "gateway_routes_change",
    }
)  # fmt: skip
ACTION_ALONE = frozenset({"proof_report", "nginx_info", "read_routes", "edge_diagnose"})

#: name -> its states, and whether it can work as an ordinary user (others need the controller's Python, or root)
SUBJECTS: dict[str, tuple[Callable[[Scene], States], bool]] = {
    "tls_secret": (tls_secret, False),
    "tls_secret_export": (tls_secret_export, True),
    "tls_secret_info": (tls_secret_info, False),
    "k8s_objects": (k8s_objects, False),
    "nginx_config": (nginx_config, False),
    "nginx_info": (nginx_info, True),
    "edge_probe": (edge_probe, True),
    "gateway_log_info": (gateway_log_info, False),
    "k8s_objects_info": (k8s_objects_info, False),
    "node_port_info": (node_port_info, False),
    "proof_probe": (proof_probe, True),
    "proof_report": (proof_report, False),
    "read_routes": (read_routes, True),
    "edge_diagnose": (edge_diagnose, True),
    "access_plan": (access_plan, False),
    "access_settled": (access_settled, False),
    "gateway_routes_change": (gateway_routes_change, False),
    "probe_pod_info": (probe_pod_info, False),
    "pod_port_info": (pod_port_info, False),
}

POISON = '''\
"""Lets a function of the standard library fail, or hang, at the worst place: with a key in the exception's text."""
import functools, importlib, os, time

def poison(place):
    module, path = place.split(":")
    holder = importlib.import_module(module)
    *outer, name = path.split(".")
    for each in outer:
        holder = getattr(holder, each)
    healthy = getattr(holder, name)

    @functools.wraps(healthy)
    def poisoned(*args, **options):
        # Asked at the call, because Ansible's own process has it only for the time of one task.
        if os.environ.get("EDGEMESH_POISON") != place:
            return healthy(*args, **options)
        if os.environ.get("EDGEMESH_SLEEP"):
            time.sleep(float(os.environ["EDGEMESH_SLEEP"]))
        with open(os.environ["EDGEMESH_KEY"]) as file:
            raise RuntimeError("no good: " + file.read())

    setattr(holder, name, poisoned)

for place in ("ssl:SSLContext.load_cert_chain", "os:fsync", "subprocess:run"):
    poison(place)
'''


def kubeconfigs(path: Path, silent_port: int) -> dict[str, Any]:
    """The administrator's, and one that leads to the silent server."""
    real = yaml.safe_load(path.read_text())
    return {
        "kubeconfig": real,
        "silent_kubeconfig": {
            **real,
            "clusters": [
                {**each, "cluster": {"server": f"https://127.0.0.1:{silent_port}", "insecure-skip-tls-verify": True}}
                for each in real["clusters"]
            ],
        },
    }

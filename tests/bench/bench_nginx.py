# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's nginx beside the seed's final configuration and one tuned by hand: same nginx, same listener, same gateway.

Needs the lab. Two VMs of its own (nginx 1.22 and 1.26), thrown away afterwards. The gateway answers by itself (`directResponse`), so that
the hop from nginx to the gateway is what is measured; then once more through a sidecar and the app. Configurations take turns within
each round, so that what else the machine does hits all of them. Writes docs/benchmark.md with its plots. From the checkout:

    python -m tests.bench.bench_nginx [rounds]
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crossplane

from lab import namespaces, packages, settings, vms
from lab.progress import Progress
from lab.settings import Host
from tests.bench import page_nginx
from tests.integration.playbooks import KUBECTL, on_host, play, variables

HOSTS = {
    "1.22": Host("bench-122", "198.18.0.170", "2001:db8:18::170", "bookworm"),
    "1.26": Host("bench-126", "198.18.0.171", "2001:db8:18::171", "trixie"),
}
REACHED = vms.inventory_hosts(HOSTS.values(), ())["edge_nginx"]["hosts"]
GATEWAY = f"{settings.NODE_IP}:{settings.NODE_PORTS['https']}"
SECONDS, CLIENTS = 4, 32
BODIES = {"small": 41, "64 KiB": 64 * 1024}
#: Requests a second at which latency is measured: below what the slowest configuration can do.
RATE = 400
PORTS = {
    ("plain", "role"): 80,
    ("plain", "seed"): 8081,
    ("plain", "tuned"): 8082,
    ("tls", "role"): 443,
    ("tls", "seed"): 8441,
    ("tls", "tuned"): 8442,
}
VARIANTS = ("seed", "tuned", "role")


@dataclass(frozen=True)
class Way:
    """From clients over ``listener`` (plain, tls) to the gateway by ``mode`` (simple, mutual)."""

    listener: str
    mode: str

    @property
    def name(self) -> str:
        return f"{self.listener}-{self.mode}"

    @property
    def host(self) -> str:
        return f"{self.name}.example.com"

    @property
    def scheme(self) -> str:
        return "https" if self.listener == "tls" else "http"

    @property
    def route(self) -> dict[str, Any]:
        mutual = {"mode": "mutual", "client_certificate": "edge-client", "client_names": ["edge.example.com"]}
        return {
            "name": self.name,
            "host": self.host,
            "on": "bench",
            "listen": {"certificate": "bench-public"} if self.listener == "tls" else {"tls": False},
            "upstream_tls": mutual if self.mode == "mutual" else {},
            "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8000}}],
            "probe": {"path": "/status/418", "status": 418},
        }


WAYS = [Way(listener, mode) for listener in ("plain", "tls") for mode in ("simple", "mutual")]


# --- what is measured ---


def rivals(host: str) -> str:
    """The seed's final configuration and one tuned by hand, with the listeners, certificates and keys of the role's."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(on_host(host, "cat /etc/nginx/edgemesh/current/route-*.conf", others=REACHED))
        file.flush()
        parsed = crossplane.parse(file.name, single=True, check_ctx=False)["config"][0]["parsed"]
    text = [f"upstream tuned_{mode} {{ server {GATEWAY}; keepalive 64; }}" for mode in ("simple", "mutual")]
    for way in WAYS:
        block = next(
            entry["block"]
            for entry in parsed
            if entry["directive"] == "server"
            and ["server_name", [way.host]] in [[each["directive"], each["args"]] for each in entry["block"]]
            and any(each["directive"] == "location" and each["args"] == ["/"] and len(each["block"]) > 2 for each in entry["block"])
        )
        # TLS ports are in files of their own, whose names say how they are listened at
        sockets = [Path(each["args"][0]).stem for each in block if each["directive"] == "include"]
        listen = sockets[0].split("-") if sockets else next(each["args"] for each in block if each["directive"] == "listen")
        shared = [each for each in block if each["directive"].startswith("ssl_")]
        location = next(each["block"] for each in block if each["directive"] == "location" and each["args"] == ["/"])
        pair = [each for each in location if each["directive"] in ("proxy_ssl_certificate", "proxy_ssl_certificate_key")]
        common = crossplane.build([*shared, {"directive": "server_name", "line": 0, "args": [way.host]}])
        client = crossplane.build(pair)
        for variant, passed in (
            ("seed", f"proxy_pass https://{GATEWAY}; proxy_ssl_name $host;"),
            ("tuned", f'proxy_pass https://tuned_{way.mode}; proxy_ssl_name {way.host}; proxy_set_header Connection "";'),
        ):
            words = " ".join([str(PORTS[way.listener, variant]), *listen[1:]])
            text.append(
                f"server {{ listen {words}; {common} location / {{ {passed} {client}"
                " proxy_set_header Host $host; proxy_ssl_server_name on; proxy_http_version 1.1; } }"
            )
    return "\n".join(text)


def hop(way: Way) -> None:
    """Have the gateway itself answer two paths of the route."""
    where = ["virtualservice.networking.istio.io", f"edge-{way.name}", "--namespace", "istio-system"]
    answers = [
        {"match": [{"uri": {"exact": f"/{size}"}}], "directResponse": {"status": 200, "body": {"string": "x" * size}}}
        for size in BODIES.values()
    ]
    patch = json.dumps([{"op": "add", "path": "/spec/http/0", "value": answer} for answer in answers])
    subprocess.run([*KUBECTL, "patch", *where, "--type", "json", "--patch", patch], check=True, capture_output=True)


#: What the gateway does besides for each request, whoever asks: an access log's line, and its metrics.
QUIET = {
    "apiVersion": "telemetry.istio.io/v1",
    "kind": "Telemetry",
    "metadata": {"name": "edgemesh-bench", "namespace": "istio-system"},
    "spec": {
        "accessLogging": [{"providers": [{"name": "envoy"}], "disabled": True}],
        "metrics": [{"providers": [{"name": "prometheus"}], "overrides": [{"disabled": True}]}],
    },
}


def quiet(verb: str) -> None:
    """``apply`` or ``delete`` it."""
    subprocess.run([*KUBECTL, verb, "--filename", "-"], input=json.dumps(QUIET), text=True, check=verb == "apply", capture_output=True)


class Counters:
    """What nginx, the gateway's Envoy and the VM's TCP have used so far."""

    def __init__(self, host: str) -> None:
        inside = list(namespaces.members(host))
        self.nginx = sum(cpu(process.pid) for process in inside if comm(process.pid) == "nginx")
        self.envoy = sum(cpu(pid) for pid in gateways())
        (names, values) = re.findall(r"^Tcp: (.*)$", Path(f"/proc/{inside[0].pid}/net/snmp").read_text(), re.MULTILINE)
        self.connections = int(dict(zip(names.split(), values.split(), strict=True))["ActiveOpens"])


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def gateways() -> Iterator[int]:
    """Envoys whose agent was told to be a router; the others are sidecars."""
    for process in namespaces.all_processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if comm(process.pid) == "envoy":
                agent = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1]
                if b"\0router\0" in Path(f"/proc/{agent}/cmdline").read_bytes():
                    yield process.pid


def cpu(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def h2load(way: Way, variant: str, nginx: str, path: str, *options: str) -> str:
    """HTTP/1.1 over kept connections, as most clients in front of an nginx are.

    :raises RuntimeError: not every request was answered by 2xx.
    """
    port = PORTS[way.listener, variant]
    place = [f"--connect-to={HOSTS[nginx].address}:{port}", f"{way.scheme}://{way.host}:{port}{path}"]
    said = subprocess.run(
        ["h2load", "--h1", "--threads=1", *options, *place], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    answered = re.search(r"(\d+) succeeded, (\d+) failed", said)
    good = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    if not answered or not good or int(answered[2]) or any(int(each) for each in good.groups()[1:]) or not int(good[1]):
        raise RuntimeError(f"{nginx} {way.name} {variant}: {said}")
    return said


def wrk(way: Way, variant: str, nginx: str, path: str, seconds: int) -> float:
    """Requests a second over kept connections; it uses less of the machine itself than h2load does.

    :raises RuntimeError: not every request was answered by 2xx or 3xx.
    """
    with tempfile.NamedTemporaryFile("w") as names:
        names.write(f"{HOSTS[nginx].address} {way.host}\n")
        names.flush()
        # It takes SNI and address from one name, so that name is made known to it alone.
        inside = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh", names.name]
        words = [
            "wrk",
            "--threads=1",
            f"--connections={CLIENTS}",
            f"--duration={seconds}s",
            "--timeout=10s",
            f"{way.scheme}://{way.host}:{PORTS[way.listener, variant]}{path}",
        ]
        said = subprocess.run([*inside, *words], capture_output=True, text=True, check=True, timeout=120).stdout
    rate = re.search(r"Requests/sec: +([\d.]+)", said)
    if not rate or not float(rate[1]) or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{nginx} {way.name} {variant}: {said}")
    return float(rate[1])


def saturated(way: Way, variant: str, nginx: str, path: str) -> dict[str, float]:
    """Requests a second, and for each request: connections to the gateway, and microseconds of nginx and Envoy."""
    wrk(way, variant, nginx, path, 1)
    before = Counters(HOSTS[nginx].name)
    rate = wrk(way, variant, nginx, path, SECONDS)
    after = Counters(HOSTS[nginx].name)
    requests = rate * SECONDS
    return {
        "rate": rate,
        "connections": (after.connections - before.connections) / requests,
        "nginx": 1e6 * (after.nginx - before.nginx) / requests,
        "envoy": 1e6 * (after.envoy - before.envoy) / requests,
    }


def steady(way: Way, variant: str, nginx: str, path: str) -> dict[str, float]:
    """Milliseconds in the middle and of the slowest hundredth, at a fixed rate."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        h2load(way, variant, nginx, path, "--clients=16", f"--rps={RATE / 16:g}", "--duration=8", f"--log-file={log}")
        taken = sorted(int(line.split()[2]) / 1000 for line in log.read_text().splitlines())
    return {"p50": taken[len(taken) // 2], "p99": taken[len(taken) * 99 // 100], "requests": len(taken)}


# --- the whole ---


def measure(rounds: int) -> list[dict[str, Any]]:
    """All figures, one entry for each nginx, way, question and configuration."""
    small, large = (f"/{size}" for size in BODIES.values())
    questions = [
        *(("hop", way, small, saturated, VARIANTS, rounds) for way in WAYS),
        *(("hop, 64 KiB", way, large, saturated, ("seed", "role"), min(rounds, 3)) for way in WAYS if way.listener == "tls"),
        *(("through the app", way, "/status/200", saturated, ("seed", "role"), min(rounds, 3)) for way in WAYS if way.listener == "tls"),
        *((f"at {RATE} a second", way, small, steady, ("seed", "role"), min(rounds, 3)) for way in WAYS if way.listener == "tls"),
    ]
    found = []
    for nginx in HOSTS:
        for question, way, path, ask, variants, times in questions:
            runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in variants}
            for turn in range(times):
                for variant in variants if turn % 2 else reversed(variants):
                    runs[variant].append(ask(way, variant, nginx, path))
            for variant, seen in runs.items():
                entry = {"nginx": nginx, "question": question, "listener": way.listener, "mode": way.mode, "variant": variant, "runs": seen}
                found.append(entry)
                print(nginx, question, way.name, variant, {name: round(middle(seen, name), 3) for name in seen[0]}, flush=True)
    return found


def middle(runs: Sequence[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def main() -> None:
    """Set up, measure, write the page, take everything away."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with Progress() as progress, tempfile.TemporaryDirectory() as folder:
        packages.ensure(progress, ["nghttp2-client", "wrk"])
        inventory = Path(folder, "bench.json")
        inventory.write_text(json.dumps({"bench": {"hosts": REACHED}}))
        values = {
            **variables(*(way.route for way in WAYS), vms="bench"),
            "verify_hosts": list(REACHED),
            "nginx_offload_remove_package": False,
            # as the recipe's commands make them (`openssl req -newkey rsa:2048`)
            "private_ca_key_type": "rsa",
        }
        try:
            vms.up(progress, vms=HOSTS.values(), clients=())
            done = play("site.yml", values, "--inventory", str(inventory))
            if done.returncode:
                raise RuntimeError(done.stdout[-4000:])
            for host in REACHED:
                # One worker, so that nginx is what is short and not the load.
                edit = "sed -i 's/^worker_processes .*/worker_processes 1;/' /etc/nginx/nginx.conf"
                on_host(host, f"cat >/etc/nginx/conf.d/bench.conf && {edit} && nginx -t && nginx -s reload", rivals(host), REACHED)
            for way in WAYS:
                hop(way)
            quiet("apply")
            time.sleep(3)  # until the gateway has it
            found = measure(rounds)
        finally:
            quiet("delete")
            play("teardown.yml", values, "--inventory", str(inventory))
            vms.down(list(REACHED), purge=True)
    page_nginx.write(found, CLIENTS)


if __name__ == "__main__":
    main()

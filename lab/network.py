# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's bridge, its addresses, the way out of it, and the kernel settings that a node needs.

All of it can be taken away without a trace: rules live in chains of the lab's own, and every setting is remembered
with the value that it had.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from . import files, settings
from .netns import hardware_address
from .shell import run, succeeds

CHAIN = "EDGEMESH-LAB"
CLUSTERS_OWN = ("KUBE-", "CNI-")
REMEMBERED = settings.STATE / "sysctl.json"

# What the lab sets itself. Without br_netfilter an answer from a pod to its neighbour would skip the NAT of Services.
WANTED = {
    "fs/inotify/max_user_instances": "1024",
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
}
# What kubelet and kube-proxy set on their own.
SET_BY_DAEMONS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/conf/all/route_localnet",
)


def up() -> None:
    """Make what is missing; leave what is there."""
    keep_router_advertisements()
    remember()
    for name, value in WANTED.items():
        set_value(name, value)
    if not exists(settings.BRIDGE):
        run(["ip", "link", "add", settings.BRIDGE, "type", "bridge"])
    # Of its own, or it would be that of one of its ports, and another one whenever a VM comes or goes.
    run(["ip", "link", "set", settings.BRIDGE, "address", hardware_address(settings.NODE_IP)])
    prefix, prefix6 = settings.NETWORK.split("/")[1], settings.NETWORK6.split("/")[1]
    run(["ip", "address", "replace", f"{settings.NODE_IP}/{prefix}", "dev", settings.BRIDGE])
    run(["ip", "link", "set", settings.BRIDGE, "up"])
    if has_ipv6():
        # A bridge without a port has no carrier, and duplicate detection would wait for one.
        run(["ip", "address", "replace", f"{settings.NODE_IP6}/{prefix6}", "dev", settings.BRIDGE, "nodad"])
    for program, rules in wanted_rules().items():
        for table, jump, chain_rules in rules:
            chain(program, table, jump, chain_rules)


def down() -> None:
    """Take everything away and give back every setting."""
    for program, rules in wanted_rules(ipv6=True).items():
        for table, jump, _ in rules:
            while succeeds([program, "-w", "-t", table, "-D", jump, "-j", CHAIN]):
                pass
            succeeds([program, "-w", "-t", table, "-F", CHAIN])
            succeeds([program, "-w", "-t", table, "-X", CHAIN])
    for bridge in (settings.POD_BRIDGE, settings.BRIDGE):
        if exists(bridge):
            run(["ip", "link", "delete", bridge])
    for name, value in (files.read_json(REMEMBERED) or {}).items():
        set_value(name, value)
    REMEMBERED.unlink(missing_ok=True)


def remove_chains() -> None:
    """Remove the chains of kube-proxy, kubelet and CNI, which are known by their names."""
    for family in ("iptables", "ip6tables"):
        if shutil.which(family) and (script := cleaning(run([f"{family}-save"], check=False))):
            run([f"{family}-restore", "-w", "--noflush"], text=script)


def cleaning(saved: str) -> str:
    """What iptables-restore has to be told so that the cluster's chains go, and the rules that jump there; "" if there are none."""
    lines: list[str] = []
    for table in saved.split("\n*")[1:] if not saved.startswith("*") else f"\n{saved}".split("\n*")[1:]:
        name, *rest = table.splitlines()
        chains = [line.split()[0][1:] for line in rest if line.startswith(":") and line[1:].startswith(CLUSTERS_OWN)]
        if chains:
            jumps = [f"-D{line[2:]}" for line in rest if line.startswith("-A") and not belongs(line.split()[1]) and belongs(target(line))]
            lines += [f"*{name}", *(f":{chain} - [0:0]" for chain in chains), *jumps, *(f"-X {chain}" for chain in chains), "COMMIT"]
    return "".join(f"{line}\n" for line in lines)


def belongs(chain: str) -> bool:
    """Whether a chain is the cluster's."""
    return chain.startswith(CLUSTERS_OWN)


def target(rule: str) -> str:
    """Where a rule jumps to."""
    words = rule.split()
    return next((after for word, after in zip(words, words[1:]) if word in ("-j", "-g")), "")


def status() -> str:
    """What is missing, or ""."""
    if not exists(settings.BRIDGE):
        return f"no bridge {settings.BRIDGE}"
    for program, rules in wanted_rules().items():
        for table, jump, _ in rules:
            if not succeeds([program, "-w", "-t", table, "-C", jump, "-j", CHAIN]):
                return f"{program}: table {table} has no jump from {jump} to {CHAIN}"
    wrong = [name for name, value in WANTED.items() if value_of(name) not in (value, None)]
    return f"changed by somebody: {', '.join(wrong)}" if wrong else ""


def has_ipv6() -> bool:
    """Whether this kernel speaks IPv6 and can translate its addresses."""
    return value_of("net/ipv6/conf/all/disable_ipv6") == "0" and succeeds(["ip6tables", "-w", "-t", "nat", "-S"])


def exists(interface: str) -> bool:
    """Whether there is such an interface."""
    return Path("/sys/class/net", interface).exists()


def wanted_rules(ipv6: bool | None = None) -> dict[str, list[tuple[str, str, list[str]]]]:
    """By program: table, chain to jump from, and our own chain's rules."""
    families = {"iptables": (settings.NETWORK, settings.POD_CIDR)}
    if ipv6 or (ipv6 is None and has_ipv6()):
        families["ip6tables"] = (settings.NETWORK6, settings.POD_CIDR6)
    return {
        program: [
            # Pods and VMs leave with the node's address, pods also towards VMs, as in any cluster. A VM's own address reaches
            # pods: that is what externalTrafficPolicy: Local is for.
            (
                "nat",
                "POSTROUTING",
                [f"-s {network} -d {pods} -j RETURN", *(f"-s {source} ! -d {source} -j MASQUERADE" for source in (network, pods))],
            ),
            # A machine's own firewall may refuse to forward; what comes from the lab or goes to it is let through.
            (
                "filter",
                "FORWARD",
                [f"{way} {bridge} -j ACCEPT" for bridge in (settings.BRIDGE, settings.POD_BRIDGE) for way in ("-i", "-o")],
            ),
        ]
        for program, (network, pods) in families.items()
    }


def chain(program: str, table: str, jump: str, rules: list[str]) -> None:
    """Fill our chain in one step and jump to it first of all."""
    text = "\n".join([f"*{table}", f":{CHAIN} - [0:0]", *(f"-A {CHAIN} {rule}" for rule in rules), "COMMIT", ""])
    run([f"{program}-restore", "-w", "--noflush"], text=text)
    if not succeeds([program, "-w", "-t", table, "-C", jump, "-j", CHAIN]):
        run([program, "-w", "-t", table, "-I", jump, "1", "-j", CHAIN])


def keep_router_advertisements() -> None:
    """A machine that forwards ignores router advertisements unless told twice; it would lose its own way out."""
    for line in run(["ip", "-6", "route", "show", "default", "proto", "ra"], check=False).splitlines():
        words = line.split()
        if "dev" in words:
            name = f"net/ipv6/conf/{words[words.index('dev') + 1]}/accept_ra"
            remember(name)
            set_value(name, "2")


def remember(*names: str) -> None:
    """Note values as they were before the lab changed any; the first note counts."""
    noted: dict[str, str] = files.read_json(REMEMBERED) or {}
    for name in names or (*WANTED, *SET_BY_DAEMONS):
        value = value_of(name)
        if value is not None:
            noted.setdefault(name, value)
    files.write(REMEMBERED, json.dumps(noted, indent=1))


def value_of(name: str) -> str | None:
    """A kernel setting; None where this kernel has none of that name."""
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def set_value(name: str, value: str) -> None:
    """Change a kernel setting that this kernel has."""
    if value_of(name) not in (value, None):
        Path("/proc/sys", name).write_text(value)

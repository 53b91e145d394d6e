# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/benchmark.md and its plots, from what bench_nginx measured."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import matplotlib

from tests.integration.playbooks import CHECKOUT

matplotlib.use("svg")
from matplotlib import pyplot

PAGE = CHECKOUT / "docs" / "benchmark.md"
PICTURES = CHECKOUT / "docs" / "benchmark"
NAMES = {"seed": "recipe", "tuned": "tuned by hand", "role": "role"}
COLORS = {"seed": "#b0b7c3", "tuned": "#7aa6c2", "role": "#0b6e4f"}
LEGS = {"simple": "TLS", "mutual": "mutual TLS"}
CLIENTS = {"plain": "plain HTTP", "tls": "TLS"}

HEAD = """# How fast is it?

Written by `make bench`; measured {day} on {cores} cores that nginx, gateway, app and load shared. Absolute figures say little
about other machines, ratios do: configurations took turns within each of {rounds} rounds, and medians are compared.

- **recipe**: the final configuration of the blog post that most people follow (`proxy_pass https://…`, SNI, HTTP/1.1); for mutual TLS with
  `proxy_ssl_certificate` added.
- **tuned by hand**: an `upstream` with `keepalive 64` and as little else as possible; nothing is verified, no header is cleaned.
- **role**: what `nginx_offload` writes, with everything that it checks.

All three run in the same nginx with one worker, behind the same listener, in front of the same gateway, whose access log and metrics are
off: they cost the same for every request. Certificates are RSA with 2,048 bits, as the recipe makes them. {clients} clients keep their
connections.
"""


def write(found: Sequence[dict[str, Any]], clients: int) -> None:
    """The page, its pictures and the figures as JSON."""
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
    questions = list(dict.fromkeys(entry["question"] for entry in found))
    for number, question in enumerate(questions):
        picture(question, [entry for entry in found if entry["question"] == question], PICTURES / f"{number}.svg")
    PAGE.write_text("\n".join(page(found, questions, clients)) + "\n")


def page(found: Sequence[dict[str, Any]], questions: Sequence[str], clients: int) -> Iterator[str]:
    rounds = max(len(entry["runs"]) for entry in found)
    yield HEAD.format(day=datetime.now(timezone.utc).date().isoformat(), cores=os.cpu_count(), rounds=rounds, clients=clients)
    titles = {
        "hop": "## From nginx to the gateway\nThe gateway answers 41 bytes by itself.",
        "hop, 64 KiB": "## The same with 64 KiB",
        "through the app": "## Through the gateway, a sidecar and the app\nHere the app's side uses most of the machine.",
    }
    for number, question in enumerate(questions):
        entries = [entry for entry in found if entry["question"] == question]
        yield titles.get(question, f"## Latency {question.replace('a second', 'requests a second')}")
        yield f"\n![{question}](benchmark/{number}.svg)\n"
        yield from latencies(entries) if "p99" in entries[0]["runs"][0] else rates(entries)
        yield ""


def rates(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield (
        "| nginx | clients | gateway | | requests/s (least to most) | ÷ recipe | ÷ tuned"
        " | handshakes/request | nginx µs/request | Envoy µs/request |"
    )
    yield "|---|---|---|---|--:|--:|--:|--:|--:|--:|"
    for entry in entries:
        rate = middle(entry, "rate")
        least, most = min(run["rate"] for run in entry["runs"]), max(run["rate"] for run in entry["runs"])
        ratios = [
            f"{rate / middle(rival, 'rate'):.2f}" if rival else ""
            for rival in (like(entries, entry, "seed"), like(entries, entry, "tuned"))
        ]
        used = f"{middle(entry, 'connections'):.4f} | {middle(entry, 'nginx'):.0f} | {middle(entry, 'envoy'):.0f}"
        yield f"| {place(entry)} | {rate:,.0f} ({least:,.0f} to {most:,.0f}) | {' | '.join(ratios)} | {used} |"


def latencies(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| nginx | clients | gateway | | middle, ms | slowest hundredth, ms |"
    yield "|---|---|---|---|--:|--:|"
    for entry in entries:
        yield f"| {place(entry)} | {middle(entry, 'p50'):.1f} | {middle(entry, 'p99'):.1f} |"


def place(entry: dict[str, Any]) -> str:
    return f"{entry['nginx']} | {CLIENTS[entry['listener']]} | {LEGS[entry['mode']]} | {NAMES[entry['variant']]}"


def like(entries: Sequence[dict[str, Any]], entry: dict[str, Any], variant: str) -> dict[str, Any] | None:
    """The rival under the same conditions."""
    same = ("nginx", "listener", "mode")
    return next((each for each in entries if each["variant"] == variant and all(each[key] == entry[key] for key in same)), None)


def middle(entry: dict[str, Any], name: str) -> float:
    return statistics.median(run[name] for run in entry["runs"])


def picture(question: str, entries: Sequence[dict[str, Any]], target: Path) -> None:
    """A group of bars for each nginx and way, each with the spread of its rounds."""
    measured, unit = ("p99", "ms, slowest hundredth") if "p99" in entries[0]["runs"][0] else ("rate", "requests/s")
    groups = list(dict.fromkeys((entry["nginx"], entry["listener"], entry["mode"]) for entry in entries))
    variants = list(dict.fromkeys(entry["variant"] for entry in entries))
    figure, axes = pyplot.subplots(figsize=(1.2 + 1.3 * len(groups), 3.6), layout="constrained")
    width = 0.8 / len(variants)
    for number, variant in enumerate(variants):
        mine = [
            next(entry for entry in entries if (entry["nginx"], entry["listener"], entry["mode"], entry["variant"]) == (*group, variant))
            for group in groups
        ]
        heights = [middle(entry, measured) for entry in mine]
        below = [height - min(run[measured] for run in entry["runs"]) for entry, height in zip(mine, heights, strict=True)]
        above = [max(run[measured] for run in entry["runs"]) - height for entry, height in zip(mine, heights, strict=True)]
        places = [group + (number - (len(variants) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(places, heights, width * 0.94, yerr=[below, above], label=NAMES[variant], color=COLORS[variant], ecolor="#444", capsize=2)
    axes.set_xticks(
        range(len(groups)), [f"nginx {nginx}\n{CLIENTS[listener]} in\n{LEGS[mode]} out" for nginx, listener, mode in groups], fontsize=8
    )
    axes.set_ylabel(unit)
    axes.set_title(question, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(target)
    pyplot.close(figure)

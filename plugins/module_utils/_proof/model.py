"""What a plan is made from and what it consists of."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

# RFC 2606 and RFC 5737: nobody's name, nobody's address
NOBODY = "nobody.edgemesh.invalid"
FORGED_ADDRESS = "203.0.113.77"
FORGED_IDENTITY = f"By=spiffe://forged.invalid/ns/forged/sa/forged;Hash={'0' * 64};URI=spiffe://forged.invalid/ns/forged/sa/forged"
# RFC 6455 §1.3: its sample key, and the right answer to it
WEBSOCKET_KEY, WEBSOCKET_ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
CALLED_UPSTREAM = "x-envoy-upstream-service-time"


@dataclass(frozen=True)
class Upstream:
    """How an nginx speaks to the gateway: what stands in its configuration, resolved for a route's request.

    ``sni`` "" sends none; ``name`` is what the certificate is verified for (proxy_ssl_name); ``shared`` says who else goes there with
    another TLS identity over what nginx keeps.
    """

    addresses: tuple[str, ...] = ()
    sni: str = ""
    name: str = ""
    verify: bool = False
    verify_depth: int = 1
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    http_version: str = "1.0"
    host: str = ""
    shared: str = ""


@dataclass(frozen=True)
class Turn:
    """A request by turns with one that nginx sends to the same place as another client.

    :param check: whose identity is looked at: ``path.own_identity`` or ``path.lent_identity``.
    :param target: which of the two comes after which.
    :param request: host and path of the one that comes after.
    :param after: the probe that sends both over one connection to nginx.
    :param alone: the probe that sends it past nginx, as nginx's configuration says.
    """

    check: str
    target: str
    request: tuple[str, str]
    after: dict[str, Any]
    alone: dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """A VM as the plan needs it.

    :param name: its inventory name.
    :param address: where clients reach its nginx.
    :param gateways: for each gateway's name the ``host:port`` that nginx uses.
    :param nginx: for each route's name how nginx's own configuration speaks to the gateway.
    :param nginx_unknown: for each route's name that ``nginx`` lacks the reason why.
    :param turns: for each route's name the requests by turns that show whose identity arrives.
    :param trust: for each route's name the CA certificates (PEM) that clients verify nginx with; without one, their system's.
    :param tls_dir: where Secrets' certificates lie on the VM.
    """

    name: str
    address: str
    gateways: dict[str, list[str]] = field(default_factory=dict)
    nginx: dict[str, Upstream] = field(default_factory=dict)
    nginx_unknown: dict[str, str] = field(default_factory=dict)
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    trust: dict[str, str] = field(default_factory=dict)
    tls_dir: str = "/etc/edgemesh/tls"


@dataclass(frozen=True)
class Options:
    """What a plan depends on besides routes and machines.

    :param run: an identifier of this run, found again in the gateway's access log.
    :param foreign_ca: PEM of a CA certificate that signed nothing.
    :param client_ca_file: the system's CAs on clients.
    :param repeat: how many answers in a row ``path.repeat`` asks for.
    :param echo_path: a path where the app answers with the headers that it received; "" when there is none.
    :param websocket_path: a path where the app takes WebSocket upgrades; "" when there is none.
    """

    run: str
    foreign_ca: str
    client_ca_file: str = "/etc/ssl/certs/ca-certificates.crt"
    repeat: int = 10
    echo_path: str = ""
    websocket_path: str = ""


@dataclass
class Proof:
    """One line of the report before it is made.

    ``probe`` is an entry of edge_probe's ``paths``, or None with the ``reason`` why there is none; several proofs may be
    judged from one probe, and one from two: ``beside`` is what the rule compares with. ``judge`` names the rule in judge.py
    ("" takes the probe's own verdict), and ``wanted`` is what that rule is told. ``control`` is the id of the proof without
    whose success this one means nothing.
    """

    id: str
    route: str
    check: str
    vantage: str
    machine: str
    target: str
    expected: str
    probe: Optional[dict[str, Any]] = None
    beside: Optional[dict[str, Any]] = None
    judge: str = ""
    wanted: dict[str, Any] = field(default_factory=dict)
    control: str = ""
    required: bool = True
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)


def user_agent(options: Options, proof: str) -> str:
    """What a request is called, to find it again in an access log."""
    return f"edgemesh-verify/{options.run}-{hashlib.sha256(proof.encode()).hexdigest()[:10]}"

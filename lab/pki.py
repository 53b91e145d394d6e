# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's certificate authorities, its certificates and kubeconfigs."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import files, settings

PKI = settings.STATE / "pki"
DAYS = 3650  # a lab lives shorter than any rotation


@dataclass(frozen=True)
class Authority:
    """A CA with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make() -> None:
    """Make everything at once, unless it is there."""
    if PKI.exists():
        return
    with files.whole_folder(PKI) as folder:
        folder.chmod(0o700)
        cluster, front = authority(folder, "ca", "edgemesh-lab"), authority(folder, "front-proxy-ca", "edgemesh-lab-front-proxy")
        service = f"kubernetes.default.svc.{settings.CLUSTER_DOMAIN}"
        names = (settings.NODE_NAME, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", service)
        nodes = (settings.NODE_IP, settings.NODE_IP6, "127.0.0.1")
        cluster_ip = str(ipaddress.ip_network(settings.SERVICE_CIDR)[1])
        leaf(folder, cluster, "apiserver", "kube-apiserver", names=(*names, *nodes, cluster_ip), server=True)
        leaf(folder, cluster, "node", settings.NODE_NAME, names=(settings.NODE_NAME, *nodes), server=True)
        leaf(folder, cluster, "apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
        leaf(folder, front, "front-proxy-client", "front-proxy-client")
        # A CA of its own: a certificate that the API server accepts must not open the store behind it.
        store = authority(folder, "etcd-ca", "edgemesh-lab-etcd")
        leaf(folder, store, "etcd", "etcd", names=(settings.NODE_IP,), server=True)
        leaf(folder, store, "etcd-client", "kube-apiserver")
        for name, user, group in (
            ("admin", "edgemesh-lab-admin", "system:masters"),
            ("kube-controller-manager", "system:kube-controller-manager", ""),
            ("kube-scheduler", "system:kube-scheduler", ""),
            ("kube-proxy", "system:kube-proxy", ""),
            ("kubelet", f"system:node:{settings.NODE_NAME}", "system:nodes"),
        ):
            leaf(folder, cluster, name, user, group)
            files.write(folder / f"{name}.kubeconfig", kubeconfig(folder, name), 0o600)
        signer = ec.generate_private_key(ec.SECP256R1())
        files.write(folder / "service-account.key", private(signer), 0o600)
        public = signer.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        files.write(folder / "service-account.pub", public)


def authority(folder: Path, name: str, common_name: str) -> Authority:
    """A CA as Python 3.13's strict verification demands it: with a critical keyUsage and key identifiers."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(signs=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    save(folder, name, certificate, key)
    return Authority(certificate, key)


def leaf(folder: Path, issuer: Authority, name: str, user: str, group: str = "", names: tuple[str, ...] = (), server: bool = False) -> None:
    """A certificate for a client (Kubernetes reads user and group from the subject) or a server (with its names)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    if group:
        subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    # Servers too: etcd's own HTTP gateway is its client, with the server's certificate.
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])]
    certificate = (
        builder(x509.Name(subject), issuer.certificate.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    if names:
        certificate = certificate.add_extension(x509.SubjectAlternativeName([general_name(each) for each in names]), critical=False)
    save(folder, name, certificate.sign(issuer.key, hashes.SHA256()), key)


def builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    """What all certificates have in common."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        # An hour ago: a clock that is set back a little must not break the lab.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def usage(signs: bool) -> x509.KeyUsage:
    """What the key may do: sign certificates, or take part in handshakes."""
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(text: str) -> x509.GeneralName:
    """An address or a DNS name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def private(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def save(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Write ``<name>.crt`` and ``<name>.key``."""
    files.write(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))
    files.write(folder / f"{name}.key", private(key), 0o600)


def kubeconfig(folder: Path, name: str) -> str:
    """A kubeconfig that holds everything itself, so that it can be copied anywhere (JSON is YAML)."""

    def data(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "edgemesh-lab",
        "clusters": [
            {
                "name": "edgemesh-lab",
                "cluster": {"server": f"https://{settings.NODE_IP}:{settings.API_PORT}", "certificate-authority-data": data("ca.crt")},
            }
        ],
        "users": [{"name": name, "user": {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}}],
        "contexts": [{"name": "edgemesh-lab", "context": {"cluster": "edgemesh-lab", "user": name}}],
    }
    return json.dumps(config, indent=1)

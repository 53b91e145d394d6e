"""What DER is, as far as its outermost tags tell."""

from __future__ import annotations

#: the tags inside the outer SEQUENCE -> what the DER is, and how it becomes PEM
KINDS = {
    (0x30, 0xA0): ("this is a certificate in DER", "Convert it with openssl x509 -inform DER"),
    (0x30, 0x02): ("this is a certificate in DER", "Convert it with openssl x509 -inform DER"),  # version 1
    (0x30, 0x06): ("this is an encrypted private key in DER", "Convert it with openssl pkcs8 -inform DER"),
    (0x02, 0x30): ("this is a private key or a PKCS#12 file in DER", "Convert it with openssl pkey -inform DER, or openssl pkcs12 -nodes"),
    (0x02, 0x02): ("this is an RSA private key in DER", "Convert it with openssl pkey -inform DER"),
    (0x02, 0x04): ("this is an EC private key in DER", "Convert it with openssl pkey -inform DER"),
}


def is_der(data: str | bytes) -> bool:
    """One SEQUENCE, as certificates and keys are; no text in UTF-8 looks like this."""
    if isinstance(data, str) or len(data) < 2 or data[0] != 0x30:
        return False
    return 0x81 <= data[1] <= 0x84 or data[1] == len(data) - 2


def tags(der: bytes) -> tuple[int, int]:
    """Of a SEQUENCE the tag of its first element, and the tag inside that one or, behind an INTEGER, of the second; 0 = none."""

    def content(at: int) -> int:
        return at + 2 + (der[at + 1] & 0x7F if der[at + 1] & 0x80 else 0)

    try:
        at = content(0)
        first = der[at]
        following = content(at) + der[at + 1] if first == 0x02 else content(at)
        return first, der[following]
    except IndexError:
        return 0, 0

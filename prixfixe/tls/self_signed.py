"""A self-signed ECDSA P-256 certificate for development (RFC 5280, FIPS 186-5), without a library.

The arithmetic is not constant time. It makes one signature before any client can connect, and
OpenSSL makes all later ones.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import os
import textwrap
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Pair", "make_pair"]

_VALID_SECONDS = 30 * 86_400
# The clocks of other machines may be behind.
_BACKDATED_SECONDS = 3_600

# The curve secp256r1: y^2 = x^3 - 3x + b over _P, base point _G of order _N (SEC 2 section 2.4.2).
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_Point = tuple[int, int] | None  # None is the point at infinity.

# DER tags (X.690 section 8).
_BOOLEAN, _INTEGER, _BIT_STRING, _OCTET_STRING, _OID = 0x01, 0x02, 0x03, 0x04, 0x06
_UTF8_STRING, _UTC_TIME, _GENERALIZED_TIME, _SEQUENCE, _SET = 0x0C, 0x17, 0x18, 0x30, 0x31
_TRUE = b"\xff"


class Pair(NamedTuple):
    """A certificate and its private key, both PEM; the repr shows neither."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "<Pair>"


def make_pair(
    domain: str,
    *,
    more: Sequence[str] = (),
    now: float | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> Pair:
    """Make a key and a certificate for `domain`, localhost and the loopback addresses.

    `more` are further names. The certificate is valid for 30 days from `now`, in seconds since the
    epoch. A client that trusts only this certificate can verify the server's name.
    """
    secret = _scalar(random)
    public = _encode_point(_multiply(secret, _G))
    start = (time.time() if now is None else now) - _BACKDATED_SECONDS
    body = _certificate_body((domain, *more), public, start, random)
    signature = _sign(secret, body, random)
    certificate = _der(_SEQUENCE, body, _ECDSA_WITH_SHA256, _bits(signature))
    return Pair(_pem("CERTIFICATE", certificate), _pem("EC PRIVATE KEY", _key(secret, public)))


# --- the curve


def _add(a: _Point, b: _Point) -> _Point:
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % _P == 0:
        return None
    if a == b:
        slope = 3 * (a[0] * a[0] - 1) * pow(2 * a[1], -1, _P) % _P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, _P) % _P
    x = (slope * slope - a[0] - b[0]) % _P
    return x, (slope * (a[0] - x) - a[1]) % _P


def _multiply(scalar: int, point: _Point) -> tuple[int, int]:
    total: _Point = None
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    if total is None:
        raise AssertionError("a scalar below the order never meets infinity")
    return total


def _scalar(random: Callable[[int], bytes]) -> int:
    # 64 more bits than the order has, so that the remainder is uniform (FIPS 186-5 A.2.1).
    return int.from_bytes(random(40), "big") % (_N - 1) + 1


def _sign(secret: int, data: bytes, random: Callable[[int], bytes]) -> bytes:
    digest = int.from_bytes(hashlib.sha256(data).digest(), "big")
    nonce = _scalar(random)
    r = _multiply(nonce, _G)[0] % _N
    s = pow(nonce, -1, _N) * (digest + r * secret) % _N
    return _der(_SEQUENCE, _integer(r), _integer(s))


def _encode_point(point: tuple[int, int]) -> bytes:
    return b"\x04" + b"".join(part.to_bytes(32, "big") for part in point)


# --- DER


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _bits(content: bytes) -> bytes:
    return _der(_BIT_STRING, b"\0", content)


def _oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return _der(_OID, bytes((first * 40 + second,)), *(_base128(arc) for arc in rest))


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(arc & 0x7F | 0x80)
    return bytes(reversed(digits))


def _time(seconds: float) -> bytes:
    # RFC 5280 section 4.1.2.5: two-digit years until 2049, four digits from 2050 on.
    moment = time.gmtime(seconds)
    if moment.tm_year < 2050:
        return _der(_UTC_TIME, time.strftime("%y%m%d%H%M%SZ", moment).encode())
    return _der(_GENERALIZED_TIME, time.strftime("%Y%m%d%H%M%SZ", moment).encode())


def _pem(label: str, der: bytes) -> str:
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode("ascii"), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


# --- the certificate (RFC 5280 section 4.1) and the key (RFC 5915)

_CURVE = _oid("1.2.840.10045.3.1.7")
_EC_PUBLIC_KEY = _der(_SEQUENCE, _oid("1.2.840.10045.2.1"), _CURVE)
_ECDSA_WITH_SHA256 = _der(_SEQUENCE, _oid("1.2.840.10045.4.3.2"))


def _certificate_body(
    names: Sequence[str], public: bytes, start: float, random: Callable[[int], bytes]
) -> bytes:
    # At most 64 characters of common name (RFC 5280 appendix A); clients read the SAN.
    name = _der(_SEQUENCE, _oid("2.5.4.3"), _der(_UTF8_STRING, names[0][:64].encode()))
    subject = _der(_SEQUENCE, _der(_SET, name))
    return _der(
        _SEQUENCE,
        _der(0xA0, _integer(2)),  # version 3
        _integer(int.from_bytes(random(16), "big")),
        _ECDSA_WITH_SHA256,
        subject,
        _der(_SEQUENCE, _time(start), _time(start + _BACKDATED_SECONDS + _VALID_SECONDS)),
        subject,
        _der(_SEQUENCE, _EC_PUBLIC_KEY, _bits(public)),
        _der(0xA3, _der(_SEQUENCE, *_extensions(names, public))),
    )


def _extensions(names: Sequence[str], public: bytes) -> list[bytes]:
    key_id = hashlib.sha256(public).digest()[:20]
    return [
        _extension("2.5.29.17", _der(_SEQUENCE, *_alternative_names(names))),
        _extension("2.5.29.19", _der(_SEQUENCE), critical=True),  # not an authority
        _extension("2.5.29.15", _der(_BIT_STRING, b"\x07\x80"), critical=True),  # may sign
        _extension("2.5.29.37", _der(_SEQUENCE, _oid("1.3.6.1.5.5.7.3.1"))),  # TLS server
        _extension("2.5.29.14", _der(_OCTET_STRING, key_id)),
        _extension("2.5.29.35", _der(_SEQUENCE, _der(0x80, key_id))),
    ]


def _extension(oid: str, content: bytes, *, critical: bool = False) -> bytes:
    flag = _der(_BOOLEAN, _TRUE) if critical else b""
    return _der(_SEQUENCE, _oid(oid), flag, _der(_OCTET_STRING, content))


def _alternative_names(names: Sequence[str]) -> list[bytes]:
    each_once = dict.fromkeys((*names, "localhost", "127.0.0.1", "::1"))
    return [_alternative_name(name) for name in each_once]


def _alternative_name(name: str) -> bytes:
    try:
        return _der(0x87, ipaddress.ip_address(name.strip("[]")).packed)
    except ValueError:
        return _der(0x82, name.encode("idna"))


def _key(secret: int, public: bytes) -> bytes:
    return _der(
        _SEQUENCE,
        _integer(1),
        _der(_OCTET_STRING, secret.to_bytes(32, "big")),
        _der(0xA0, _CURVE),
        _der(0xA1, _bits(public)),
    )

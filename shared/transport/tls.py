"""TLS for the set-up over HTTP: certificate files in, contexts out; every mistake in one sentence."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from shared.errors import RequestError


@dataclass(frozen=True)
class Certificate:
    """Contents of a certificate: the names and addresses it is for, and whether it is its own authority."""

    names: tuple[str, ...]
    self_signed: bool


def server_context(certificate: Path, key: Path, now: datetime | None = None) -> ssl.SSLContext:
    """Return what a receiver speaks TLS 1.2 or newer with. Raise RequestError where the files are no use."""
    parsed = _read(certificate, "--tls-cert")
    now = now or datetime.now(UTC)
    first, last = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    if now > last:
        raise RequestError(f"The certificate {certificate} expired on {last:%Y-%m-%d}; give a newer one.")
    if now < first:
        raise RequestError(
            f"The certificate {certificate} is not valid before {first:%Y-%m-%d %H:%M} UTC; "
            "check the clock, or give another."
        )
    _bytes(key, "--tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password of ours, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password=b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise RequestError(f"The key {key} does not match the certificate {certificate}.") from error
        raise RequestError(
            f"{key} is not an unencrypted private key in PEM form; give another --tls-key."
        ) from error
    return context


def client_context(authority: Path | None = None) -> ssl.SSLContext:
    """Return what a sender checks a receiver's certificate with: the system's trust store, and `authority`.

    Raise RequestError where that file holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority is not None:
        _read(authority, "--tls-ca")
        context.load_verify_locations(authority)
    return context


def describe(path: Path) -> Certificate:
    """Return what the certificate at `path` says. Raise RequestError where it cannot be read."""
    parsed = _read(path, "--tls-cert")
    try:
        alternatives = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return Certificate((), parsed.issuer == parsed.subject)
    names = [*alternatives.get_values_for_type(x509.DNSName)]
    names += map(str, alternatives.get_values_for_type(x509.IPAddress))
    return Certificate(tuple(names), parsed.issuer == parsed.subject)


def _read(path: Path, option: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(_bytes(path, option))[0]
    except ValueError as error:
        raise RequestError(f"{path} holds no certificate in PEM form; give another {option}.") from error


def _bytes(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"Cannot read {path}: {error.strerror}; give another {option}.") from error

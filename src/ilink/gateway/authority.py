"""A certificate authority for tests, so that clients which insist on HTTPS and on Tencent's names meet the gateway."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ilink.errors import ConfigError, StoreError
from ilink.storage.private import make_private_folder, replace_private_file

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["VENDOR_API_URL", "VENDOR_CDN_URL", "VENDOR_NAMES", "Authority", "open_authority"]

VENDOR_API_URL: Final = "https://ilinkai.weixin.qq.com"
VENDOR_CDN_URL: Final = "https://novac2c.cdn.weixin.qq.com/c2c"
VENDOR_NAMES: Final = (
    "ilinkai.weixin.qq.com",
    "ilinkai.wechat.com",
    "novac2c.cdn.weixin.qq.com",
    "liteapp.weixin.qq.com",
)
"""The names that clients have in their code (protocol §1.2)."""

_NAMES: Final = (*VENDOR_NAMES, "localhost")
_ADDRESSES: Final = ("127.0.0.1", "::1")
_DOMAINS: Final = ("weixin.qq.com", "wechat.com", "localhost")
_SKEW: Final = timedelta(days=1)
"""Certificates begin in the past, for clients whose clock is behind."""
_AUTHORITY_LIFE: Final = timedelta(days=3650)
_SERVER_LIFE: Final = timedelta(days=397)
"""A server's certificate is new with each start; some clients refuse one that lives longer than this."""


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority that signs for the vendor's domains, `localhost` and addresses, and for nothing else.

    So whoever steals its key can still not pose as any other site to those who trust it.

    Attributes:
        certificate: The file to be trusted, in PEM.
    """

    certificate: Path
    _key: EllipticCurvePrivateKey
    _issuer: x509.Certificate

    def server_context(self, hosts: Iterable[str], *, now: datetime) -> ssl.SSLContext:
        """Issue a certificate and return what a listener needs to speak TLS with it.

        Args:
            hosts: Further names and addresses that the listener is reached by.
            now: When its life begins.

        Raises:
            ConfigError: A host is a name that the authority may not sign for.
        """
        chain = self.certificate.with_name("server.pem")
        replace_private_file(chain, self._issue([*_NAMES, *_ADDRESSES, *hosts], now))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(chain)
        return context

    def lives_until(self, moment: datetime) -> bool:
        """Tell whether it is still valid then."""
        return self._issuer.not_valid_after_utc >= moment

    def _issue(self, hosts: Iterable[str], now: datetime) -> bytes:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        names = [_general_name(host) for host in dict.fromkeys(hosts)]
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = self._issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder("ilink test gateway", self._issuer.subject, key, now, _SERVER_LIFE)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _pem(key) + _pem_certificate(certificate) + _pem_certificate(self._issuer)


def open_authority(folder: Path, *, now: datetime) -> Authority:
    """Return the authority of a folder, making one if there is none or its time is over.

    Its key stays in the folder, readable by its owner alone; a folder that is kept needs to be trusted only once.

    Raises:
        ConfigError: The extra `tls` is not installed.
        StoreError: The folder cannot be written, or what is in it is no authority.
    """
    try:
        import cryptography  # noqa: F401  # pyright: ignore[reportUnusedImport]  # asked for here, used below
    except ImportError as error:
        message = "TLS needs the package cryptography; install ilink[tls]"
        raise ConfigError(message) from error
    folder = make_private_folder(folder)
    certificate, key = folder / "authority.pem", folder / "authority.key"
    if certificate.exists() and key.exists():
        authority = _read(certificate, key)
        if authority.lives_until(now + _SERVER_LIFE):
            return authority
    _make(certificate, key, now)
    return _read(certificate, key)


def _make(certificate: Path, key_file: Path, now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    name = "ilink test authority"
    key = ec.generate_private_key(ec.SECP256R1())
    permitted: list[x509.GeneralName] = [x509.DNSName(domain) for domain in _DOMAINS]
    permitted += [x509.IPAddress(ipaddress.ip_network(every)) for every in ("0.0.0.0/0", "::/0")]
    own = (
        _builder(name, _named(name), key, now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    replace_private_file(key_file, _pem(key))
    replace_private_file(certificate, _pem_certificate(own))


def _read(certificate: Path, key_file: Path) -> Authority:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        issuer = x509.load_pem_x509_certificate(certificate.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        message = f"{certificate} and {key_file.name} are no authority; remove both, and a new one is made"
        raise StoreError(message) from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != issuer.public_key():
        message = f"{key_file} is not the key of {certificate.name}; remove both, and a new authority is made"
        raise StoreError(message)
    return Authority(certificate, key, issuer)


def _builder(
    name: str, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now - _SKEW + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _named(name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not any(host == domain or host.endswith(f".{domain}") for domain in _DOMAINS):
        message = f"the test authority signs for no name like {host}; with TLS, listen on an address or on localhost"
        raise ConfigError(message)
    return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem_certificate(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)

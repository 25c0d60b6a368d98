"""A web server with the faults that people meet: nginx on loopback, over http and TLS, and certificates for it."""

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from servers import running


@dataclass(frozen=True)
class Authority:
    """An authority of our own; `file` holds its certificate."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        return self.folder / "authority.crt"

    def issue(self, name: str, *, days: float = 90) -> Path:
        """Make a certificate for a host that ends in so many days, or has; its key is in the same file."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        ends = now + dt.timedelta(days=days)
        certificate = (
            _builder(name, key, self.certificate.subject)
            .not_valid_before(min(now, ends) - dt.timedelta(days=1))
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        path = self.folder / f"{name}-{days}.pem"
        path.write_bytes(_pem(certificate) + _private(key))
        return path


def authority(folder: Path) -> Authority:
    """Make an authority whose files lie in a folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the test")])
    usage = {"digital_signature": False, "key_cert_sign": True, "crl_sign": True, "content_commitment": False}
    usage |= {"key_encipherment": False, "data_encipherment": False, "key_agreement": False}
    certificate = (
        _builder("authority of the test", key, name)
        .not_valid_before(now - dt.timedelta(days=400))
        .not_valid_after(now + dt.timedelta(days=400))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage, encipher_only=False, decipher_only=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    made = Authority(folder, key, certificate)
    made.file.write_bytes(_pem(certificate))
    return made


def _builder(name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    return builder.public_key(key.public_key()).serial_number(x509.random_serial_number())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@contextmanager
def started(folder: Path, servers: str, *ports: int, workers: int = 1) -> Iterator[None]:
    """Run nginx with these server blocks, which listen on the ports."""
    folder.mkdir(parents=True, exist_ok=True)
    places = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    # The workers of a root that does not say so are nobody's, who may not read a test's files.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(
        f"{user} daemon off; worker_processes {workers}; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {places}\n{servers}\n}}\n"
    )
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    command = ["nginx", "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(configuration)]
    with running(command, *ports, env=environment):
        yield

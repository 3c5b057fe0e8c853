"""Set-up over https, with certificates made here."""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from receiver.__main__ import main as receiver_main
from receiver.announcement import announcement
from receiver.http import connection_limiter
from receiver.http.signaling import SignalingServer
from sender.__main__ import main as sender_main
from sender.calling import connect
from shared.errors import RequestError
from shared.transport.datachannel import Link
from shared.transport.tls import client_context, describe, server_context

pytestmark = pytest.mark.slow

TOKEN = "correct-horse"
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Files:
    certificate: Path
    key: Path


def made(
    folder: Path, name: str = "cert", names: tuple[str, ...] = ("127.0.0.1",), days: tuple[int, int] = (-1, 1)
) -> Files:
    """A self-signed certificate for `names`, valid from `days[0]` to `days[1]` days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a receiver")])
    general: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(one)) if one[0].isdigit() or ":" in one else x509.DNSName(one)
        for one in names
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName(general), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return made(tmp_path)


def serving(
    files: Files | None, links: "asyncio.Queue[Link] | None" = None, *, two_way: bool = False
) -> SignalingServer:
    context = None if files is None else server_context(files.certificate, files.key)
    on_link = (lambda _: None) if links is None else links.put_nowait
    return SignalingServer("127.0.0.1", 0, TOKEN, on_link, tls=context, two_way=two_way)


async def test_a_call_is_set_up_over_https(files: Files) -> None:
    links: asyncio.Queue[Link] = asyncio.Queue()
    async with serving(files, links) as server:
        assert server.url.startswith("https://127.0.0.1:")
        here = await connect(server.url, tls=client_context(files.certificate))
        there = await asyncio.wait_for(links.get(), 20)
        here.send_ctl(b"hello")
        assert await asyncio.wait_for(there.recv(), 20) == ("ctl", b"hello")
        await here.close()
        await there.close()


async def test_both_directions_are_set_up_over_https(files: Files) -> None:
    links: asyncio.Queue[Link] = asyncio.Queue()
    async with serving(files, links, two_way=True) as server:
        here = await connect(server.url, tls=client_context(files.certificate), two_way=True)
        there = await asyncio.wait_for(links.get(), 20)
        assert here.back is not None
        assert there.back is not None
        here.send_ctl(b"forth")
        there.back.send_ctl(b"back")
        assert await asyncio.wait_for(there.recv(), 20) == ("ctl", b"forth")
        assert await asyncio.wait_for(here.back.recv(), 20) == ("ctl", b"back")
        await here.shut()
        await there.shut()


async def test_a_certificate_that_is_not_trusted_is_refused(files: Files, tmp_path: Path) -> None:
    other = made(tmp_path, "other")
    async with serving(files) as server:
        for tls in (None, client_context(other.certificate)):
            with pytest.raises(RequestError, match=r"not trusted here \(self-signed certificate\).*--tls-ca"):
                await connect(server.url, TOKEN, tls=tls)


async def test_a_certificate_for_another_name_is_refused(files: Files, tmp_path: Path) -> None:
    elsewhere = made(tmp_path, "elsewhere", ("192.0.2.1", "call.example.org"))
    assert files.certificate.exists()
    async with serving(elsewhere) as server:
        with pytest.raises(RequestError, match=r"not trusted here \(IP address mismatch"):
            await connect(server.url, TOKEN, tls=client_context(elsewhere.certificate))


async def test_the_wrong_scheme_is_named(files: Files) -> None:
    async with serving(files) as server:
        with pytest.raises(RequestError, match="use https:// for a receiver with --tls-cert"):
            await connect(server.url.replace("https", "http"), TOKEN)
    async with serving(None) as server:
        with pytest.raises(RequestError, match="http:// for one without"):
            await connect(server.url.replace("http", "https"), TOKEN)


def test_old_versions_are_refused(files: Files) -> None:
    for context in (server_context(files.certificate, files.key), client_context()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_slow_handshake_is_cut_off_and_keeps_nobody_out(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limiter, "TLS_SECONDS", 0.4)
    links: asyncio.Queue[Link] = asyncio.Queue()
    async with serving(files, links) as server:
        silent = [
            await asyncio.open_connection("127.0.0.1", server.port)
            for _ in range(connection_limiter.CONNECTIONS_OF_ONE + 4)
        ]
        here = await connect(server.url, TOKEN, tls=client_context(files.certificate))
        there = await asyncio.wait_for(links.get(), 20)
        ends = [asyncio.wait_for(reader.read(), 20) for reader, _ in silent]
        # Some are reset.
        assert not any(
            isinstance(end, TimeoutError) for end in await asyncio.gather(*ends, return_exceptions=True)
        )
        for _, writer in silent:
            writer.close()
        await here.close()
        await there.close()


def test_files_that_are_no_use_are_told(files: Files, tmp_path: Path) -> None:
    empty, locked = tmp_path / "empty.pem", tmp_path / "locked.key"
    empty.write_text("no certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    expired, early = made(tmp_path, "expired", days=(-3, -2)), made(tmp_path, "early", days=(2, 3))
    cases = [
        (tmp_path / "missing", files.key, "Cannot read .*missing.*No such file.*--tls-cert"),
        (files.certificate, tmp_path / "missing", "Cannot read .*missing.*--tls-key"),
        (tmp_path, files.key, "Cannot read .*--tls-cert"),
        (empty, files.key, "holds no certificate"),
        (files.certificate, empty, "not an unencrypted private key"),
        (files.certificate, locked, "not an unencrypted private key"),
        (files.certificate, expired.key, "does not match the certificate"),
        (expired.certificate, expired.key, "expired on"),
        (early.certificate, early.key, "is not valid before"),
    ]
    for certificate, private, message in cases:
        with pytest.raises(RequestError, match=message) as caught:
            server_context(certificate, private)
        assert "\n" not in str(caught.value)
    with pytest.raises(RequestError, match="holds no certificate in PEM form; give another --tls-ca"):
        client_context(empty)


@pytest.mark.parametrize(
    ("module", "words", "message"),
    [
        ("receiver", ["--tls-cert", "{cert}"], "both --tls-cert and --tls-key"),
        ("receiver", ["--tls-key", "{cert}"], "both --tls-cert and --tls-key"),
        ("receiver", ["--tls-cert", "missing.pem", "--tls-key", "{cert}"], "Cannot read missing.pem"),
        ("receiver", ["--listen", "0.0.0.0", "--token", "short"], "can be guessed"),
        ("sender", ["--tls-ca", "{cert}"], "Without https"),
        ("sender", ["--tls-ca", "missing.pem", "--connect", "https://127.0.0.1"], "Cannot read missing.pem"),
    ],
)
def test_the_commands_say_it_in_one_sentence_and_exit_2(
    files: Files, capfd: pytest.CaptureFixture[str], module: str, words: list[str], message: str
) -> None:
    words = [word.format(cert=files.certificate) for word in words]
    if module == "receiver":
        code = receiver_main(["--view", "none", *words])
    else:
        code = sender_main(["--source", "demo", *words])
    error = capfd.readouterr().err
    assert code == 2
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_the_printed_command_names_the_receiver_as_its_certificate_does(tmp_path: Path) -> None:
    both = made(tmp_path, "both", ("*.example.org", "call.example.org", "192.0.2.7"))
    assert describe(both.certificate).names == ("*.example.org", "call.example.org", "192.0.2.7")
    for own, named in (("192.0.2.7", "192.0.2.7"), ("10.0.0.1", "call.example.org")):
        command = announcement(own, 1, "T", both.certificate)[1].strip()
        assert command == f"sender --source cam0 --connect https://{named}:1 --token T --tls-ca both.pem"
    nameless = made(tmp_path, "nameless", ("*.example.org",))
    assert "https://[::1]:1 " in announcement("::1", 1, "T", nameless.certificate)[1]
    assert "http://[::1]:1 " in announcement("::1", 1, "T", None)[1]
    assert not any("--view" in line for line in announcement("::1", 1, "T", None))
    assert sum("--view window" in line for line in announcement("::1", 1, "T", None, sends=True)) == 2

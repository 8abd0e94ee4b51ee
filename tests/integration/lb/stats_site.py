"""A small front to try the wrapper on: a map, an ACL, a stick table, certificates, servers on Unix sockets and TCP."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lb.haproxy_stats import MapEntry, MasterSocket, RuntimeSocket
from tests.service.haproxy import ServedHaproxy, running_haproxy
from tests.service.pki import Issued, issue_for_host, make_authority, make_revocation_list
from tests.service.wait import wait_until

CONFIGURATION = """\
global
  description tests of the wrapper
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
  timeout queue 1s
frontend front
  bind unix@{dir}/front.sock
  bind unix@{dir}/tls.sock ssl crt-list {dir}/list.txt ca-verify-file {dir}/ca.pem crl-file {dir}/crl.pem \
verify optional ca-ignore-err all crt-ignore-err all
  http-request deny if { path,map_str({dir}/deny.map) -m found }
  http-request deny if { src -f {dir}/networks.acl }
  use_backend %[path,map_beg({dir}/route.map)]
  default_backend main
backend main
  balance roundrobin
  stick-table type string size 100 expire 10m store http_req_cnt
  stick on req.hdr(x-client)
  server l1 unix@{dir}/l1.sock check inter 50 rise 1 fall 1
  server l2 127.0.0.1:9 disabled
  server l3 127.0.0.1:9 track main/l1
backend fixed
  balance static-rr
  server l1 127.0.0.1:9
"""


@dataclass(frozen=True, kw_only=True)
class StatsSite:
    """HAProxy with that configuration.

    Attributes:
        authority: whose certificates are in the files.
        hosts: host names with their certificates: `a.example`, `b.example`.
    """

    served: ServedHaproxy
    authority: Issued
    hosts: dict[str, Issued] = field(default_factory=dict)

    @property
    def runtime(self) -> RuntimeSocket:
        return self.served.runtime

    @property
    def master(self) -> MasterSocket:
        return self.served.master

    def file(self, name: str) -> str:
        """A file as it stands in the configuration."""
        return str(self.served.directory / name)

    @property
    def route_map(self) -> str:
        return self.file("route.map")

    @property
    def acl(self) -> str:
        return self.file("networks.acl")

    @contextmanager
    def held_connection(self) -> Iterator[None]:
        """A request whose head does not end: the worker that took it waits for the rest."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(self.file("front.sock"))
            connection.sendall(b"GET /x HTTP/1.1\r\nhost: a\r\n")
            wait_until(lambda: self.runtime.show_info().connections > 0, "the connection to be seen")
            yield

    def snapshot(self) -> tuple[object, ...]:
        """Everything that a command which was not meant could have changed."""
        runtime = self.runtime
        servers = tuple(
            (each.backend, each.name, each.admin, each.user_weight, each.address, each.port)
            for each in runtime.show_servers_state()
        )
        patterns = (*runtime.maps.files(), *runtime.acls.files())
        info = runtime.show_info()
        return (
            servers,
            patterns,
            frozenset(runtime.maps.show(self.route_map)),
            runtime.acls.show(self.acl),
            (info.pid, info.max_connections, info.stopping),
            (runtime.certificates.names(), runtime.certificates.pending()),
            runtime.crt_lists.show(self.file("list.txt")),
        )


@contextmanager
def running_site(*, buffer_bytes: int | None = None) -> Iterator[StatsSite]:
    """Run it in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="hap") as name:
        home = Path(name)
        authority = make_authority("CN=Front CA")
        hosts = {host: issue_for_host(host, issuer=authority) for host in ("a.example", "b.example")}
        _write_files(home, authority, hosts)
        configuration = CONFIGURATION
        if buffer_bytes is not None:
            configuration = f"global\n  tune.bufsize {buffer_bytes}\n{configuration}"
        with running_haproxy(configuration, directory=home) as served:
            yield StatsSite(served=served, authority=authority, hosts=hosts)


def _write_files(home: Path, authority: Issued, hosts: dict[str, Issued]) -> None:
    (home / "route.map").write_text("/fixed fixed\n")
    (home / "deny.map").write_text("")
    (home / "networks.acl").write_text("192.0.2.0/24\n")
    (home / "ca.pem").write_text(authority.pem)
    (home / "crl.pem").write_text(make_revocation_list(authority))
    for host, issued in hosts.items():
        (home / f"{host}.pem").write_text(pem_of(issued))
    (home / "list.txt").write_text(f"{home}/a.example.pem\n{home}/b.example.pem [alpn h2] b.example\n")


def pem_of(issued: Issued, *chain: Issued) -> str:
    """A file with certificate, chain and key."""
    return issued.pem + "".join(each.pem for each in chain) + issued.key_pem


def entries(*pairs: tuple[str, str]) -> list[MapEntry]:
    return [MapEntry(key=key, value=value) for key, value in pairs]


@contextmanager
def line_at(path: Path) -> Iterator[None]:
    """Something that takes connections and answers each request with 200."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        thread = threading.Thread(target=_answer_all, args=(listener,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            path.unlink()


def _answer_all(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(1)
            try:
                if connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            except OSError:
                continue

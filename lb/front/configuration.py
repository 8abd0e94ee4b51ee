"""The text of HAProxy's configuration, from identifiers of ours and checked settings alone. Pure.

What changes while it runs lies in maps, the list of certificates and their files; what those are named by stays the
same from release to release (`<directory>/current/…`).

**Source:** HAProxy 2.6 configuration manual; what was tried on 2.6.12 says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from lb.front.counter import call_rules, connection_rules, counter_tables
from lb.front.model import CONTROL, RELEASE, Backend, Server
from lb.front.problem import answer, own_error
from lb.front.route_table import (
    BACKEND,
    DENIED,
    EDGE,
    EDGE_INSTANCE,
    EDGE_NETWORK,
    HOST_NAME,
    INSTANCE,
    STICKY,
)
from lb.front.settings import BUFFER_BYTES, REWRITE_BYTES, FrontBind, FrontSettings
from lb.rule.compile import fragment

CERTIFICATE_LIST: Final = "crt-list.txt"
AUTHORITIES: Final = "ca.pem"
REVOCATION_LISTS: Final = "crl.pem"
RELEASE_TABLE: Final = "release_"
CHECK_PATH: Final = "/readyz"
FALL: Final = 2
RISE: Final = 1
PURGE: Final = timedelta(seconds=2)
"""How long idle connections to a line are kept: less than lines keep them (30 s), and a line can be removed soon."""
_STICKY_ENTRIES: Final = 100_000
"""Some 20 MB if all are there. Our own decision."""
_STICKY_EXPIRES: Final = "8h"
_HSTS_SECONDS: Final = 31_536_000
_CONTROL_SEGMENTS: Final = "admin portal console status problems openapi"
_CONTROL_SEGMENTS_OF_HOSTS: Final = "portal status problems openapi"
"""On an instance's own host staff have no door."""
# Mozilla's intermediate configuration, without finite-field Diffie-Hellman.
# **Source:** wiki.mozilla.org/Security/Server_Side_TLS.
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_SUITES: Final = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
NOT_VERIFIED: Final = "1,1"
"""Beside no certificate. **Source:** X509_V_ERR_UNSPECIFIED, openssl-verification-options(1)."""
_OF_VERSION: Final = {4: "!{ var(txn.src) -m sub : }", 6: "{ var(txn.src) -m sub : }"}
"""Whether the caller's address is of IPv4, or of IPv6: only those have a colon."""
_RULE_ANSWERS: Final = {"maintenance": "maintenance", "refused": "lines_not_ready"}
_OWN_ERRORS: Final = ("request_refused", "request_too_slow", "body_too_large", "front_failed", "line_failed")
# No path: it may hold a ticket. No header of the caller's but his request's id, which has a form of ours by then.
_LOG_FIELDS: Final = (
    '"ts_ms":%Ts%ms',
    '"request_id":"%[var(txn.rid)]"',
    '"client":"%ci"',
    '"client_port":%cp',
    '"method":"%HM"',
    '"protocol":"%HV"',
    '"tls":"%sslv"',
    '"certificate":"%[var(txn.fp)]"',
    '"instance":"%[var(txn.i)]"',
    '"rule":"%[var(txn.rule)]"',
    '"backend":"%b"',
    '"server":"%s"',
    '"status":%ST',
    '"bytes_in":%U',
    '"bytes_out":%B',
    '"ms_request":%TR',
    '"ms_queue":%Tw',
    '"ms_connect":%Tc',
    '"ms_answer":%Tr',
    '"ms_all":%Ta',
    '"retries":"%rc"',
    '"end":"%tsc"',
)


def configuration_lines(settings: FrontSettings, backends: Iterable[Backend]) -> Iterator[str]:
    """All of it; `RELEASE` stands where the release's number comes."""
    yield from _global_lines(settings)
    yield from _default_lines(settings)
    yield from _peer_lines(settings)
    yield from _health_lines(settings)
    yield from _redirect_lines(settings)
    yield from _front_lines(settings)
    for backend in backends:
        yield from _backend_lines(settings, backend)


def certificate_check_lines(settings: FrontSettings, paths: Iterable[str]) -> Iterator[str]:
    """What loads certificates as `configuration_lines` does, and serves nobody: at its end a line for each of them."""
    yield "global"
    yield from _tls_default_lines()
    yield "defaults"
    yield "  mode http"
    yield f"  timeout client {_ms(settings.times.client)}"
    yield "frontend certificates"
    for path in paths:
        yield f"  bind unix@{settings.run}/certificates.sock ssl crt {path}"


def server_line(backend: Backend, server: Server) -> str:
    """A server as it stands in its backend."""
    follows = f" track {backend.line_set}/{server.name}" if backend.kind == "group" else ""
    return f"  server {server.name} {server.address} id {server.number} weight {server.weight}{follows}"


def _global_lines(settings: FrontSettings) -> Iterator[str]:
    yield "global"
    yield f"  localpeer {settings.name}"
    yield f"  stats socket {settings.runtime_socket} mode 600 level admin expose-fd listeners"
    yield "  stats timeout 30s"
    yield f"  maxconn {settings.limits.connections}"
    if settings.limits.threads is not None:
        yield f"  nbthread {settings.limits.threads}"
    yield f"  hard-stop-after {_ms(settings.times.hard_stop)}"
    yield f"  mworker-max-reloads {settings.limits.reloads}"
    yield "  no strict-limits"
    if settings.log != "none":
        yield f"  log {settings.log} len 4096 format raw local0 info"
    yield f"  tune.bufsize {BUFFER_BYTES}"
    yield f"  tune.maxrewrite {REWRITE_BYTES}"
    # A resumed session tells nothing of how its certificate was verified, and a revoked one would live on in it.
    yield "  tune.ssl.cachesize 0"
    yield from _tls_default_lines()


def _tls_default_lines() -> Iterator[str]:
    yield f"  ssl-default-bind-ciphers {_CIPHERS}"
    yield f"  ssl-default-bind-ciphersuites {_SUITES}"
    yield "  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets prefer-client-ciphers"
    yield "  ssl-load-extra-files none"


def _default_lines(settings: FrontSettings) -> Iterator[str]:
    times, problems = settings.times, f"{settings.current}/problems"
    yield "defaults all"
    yield "  mode http"
    yield "  log global"
    yield "  option idle-close-on-response"
    yield f"  timeout connect {_ms(times.connect)}"
    yield f"  timeout http-request {_ms(times.request)}"
    yield f"  timeout http-keep-alive {_ms(times.keep_alive)}"
    yield f"  timeout client {_ms(times.client)}"
    yield f"  timeout server {_ms(times.server)}"
    yield f"  timeout queue {_ms(times.connect)}"
    yield f"  timeout check {_ms(times.check_within)}"
    for code in _OWN_ERRORS:
        yield f"  {own_error(problems, code)}"
    yield "defaults lines from all"
    # Not `roundrobin`: after weights have changed with no request in between, 2.6.12 left a line out for hundreds of
    # requests (tried).
    yield "  balance random(2)"
    yield "  retries 2"
    yield "  option redispatch 1"
    # Beyond a failed connection only what has no effect is sent again: the frontend takes all other methods out.
    yield "  retry-on conn-failure empty-response"
    yield f"  {own_error(problems, 'no_line_ready')}"
    yield f"  {own_error(problems, 'line_too_slow')}"
    yield "  option httpchk"
    yield f"  http-check send meth GET uri {CHECK_PATH}"
    # Who answers that he is not ready drains: nothing new for him, and what he has is left alone (tried on 2.6.12).
    yield "  http-check expect status 200 error-status L7OKC"
    yield f"  default-server check {' '.join(server_options(times.check_every))}"
    yield "defaults groups from lines"
    # A sticky caller's first line follows from who he is, the same on both load balancers, whether or not one has
    # learned where he was from the other: a worker of a few seconds hands its tables to no successor. Others get lines
    # in turns.
    yield "  balance hash var(txn.sk)"
    yield "  hash-type consistent"
    yield f"  default-server no-check on-marked-down shutdown-sessions pool-purge-delay {_ms(PURGE)}"


def server_options(check_every: timedelta) -> tuple[str, ...]:
    """How a line is checked, as default options of its server."""
    return (
        f"inter {_ms(check_every)}",
        f"fall {FALL}",
        f"rise {RISE}",
        "on-marked-down shutdown-sessions",
        f"pool-purge-delay {_ms(PURGE)}",
    )


def _peer_lines(settings: FrontSettings) -> Iterator[str]:
    yield "peers pair"
    if settings.peers:
        for peer in settings.peers:
            yield f"  peer {peer.name} {peer.address}"
    else:
        # Alone: a worker hands its tables to the next one, unless it is so young (5 s, or 10 s after another such
        # one) that it still waits for those of the worker before it (tried on 2.6.12).
        yield f"  bind unix@{settings.run}/peers.sock"
        yield f"  server {settings.name}"
    # Its name tells which release a worker has read; nothing is ever put in.
    yield f"backend {RELEASE_TABLE}{RELEASE} from all"
    yield "  stick-table type integer size 1 expire 1h"
    yield "backend sticky from all"
    yield f"  stick-table type string len 200 size {_STICKY_ENTRIES} expire {_STICKY_EXPIRES} peers pair"
    yield from counter_tables()


def _health_lines(settings: FrontSettings) -> Iterator[str]:
    alive = f'{{"status":"ok","release":{RELEASE}}}'
    yield "frontend health from all"
    yield f"  bind {_bind(settings.health)}"
    yield "  no log"
    yield f"  http-request return status 200 content-type application/json string '{alive}' if {{ path /livez }}"
    yield "  http-request use-service prometheus-exporter if { path /metrics }"
    yield "  http-request return status 404"


def _redirect_lines(settings: FrontSettings) -> Iterator[str]:
    binds = [bind for bind in settings.binds if bind.kind == "redirect"]
    if not binds:
        return
    yield "frontend redirect from all"
    for bind in binds:
        yield f"  bind {_bind(bind.address)}"
    yield from _log_and_connections(settings)
    for rule in _entry_rules(settings):
        yield f"  http-request {rule}"
    yield "  http-request redirect location https://%[req.hdr(host),host_only,lower]%[pathq] code 308"
    yield from _answer_lines()


def _front_lines(settings: FrontSettings) -> Iterator[str]:
    yield "frontend front from all"
    for bind in settings.binds:
        if bind.kind != "redirect":
            yield f"  bind {_bind(bind.address)}{_tls(settings, bind)}"
    yield from _log_and_connections(settings)
    for rules in (_entry_rules, _own_word_rules, _body_rules, _caller_rules, _route_rules):
        for rule in rules(settings):
            yield f"  http-request {rule}"
    problems = f"{settings.current}/problems"
    texts = {name: answer(problems, f"rule_{code}") for name, code in _RULE_ANSWERS.items()}
    for line in fragment(f"{settings.current}/maps", **texts):
        yield f"  {line}"
    for rule in _sticky_rules(settings):
        yield f"  http-request {rule}"
    yield "  use_backend %[var(txn.be)] if { var(txn.be) -m found }"
    yield "  default_backend no_lines"
    yield from _answer_lines()
    yield "backend no_lines from lines"


def _entry_rules(settings: FrontSettings) -> Iterator[str]:
    """Who is refused at once, and what every request is called."""
    problems = f"{settings.current}/problems"
    decent = "{ req.hdr_cnt(request-id) eq 1 } { req.hdr(request-id) -m reg ^[A-Za-z0-9._-]{8,64}$ }"
    yield f"set-var(txn.rid) req.hdr(request-id) if {decent}"
    yield "set-var-fmt(txn.rid) req_%[uuid] unless { var(txn.rid) -m found }"
    yield "set-header Request-Id %[var(txn.rid)]"
    yield "set-var(txn.src) src"
    for version, name in DENIED.items():
        denied = f"{{ src,{_map(settings, name, 'ip')} -m found }} {_OF_VERSION[version]}"
        yield f"return {answer(problems, 'caller_denied')} if {denied}"
    yield from call_rules(settings, problems)
    yield f"return {answer(problems, 'request_refused')} unless {{ req.hdr_cnt(host) eq 1 }}"
    # Whoever gets a tunnel says in it to a line what he likes.
    yield f"return {answer(problems, 'request_refused')} if METH_CONNECT"


def _own_word_rules(settings: FrontSettings) -> Iterator[str]:
    """Who says of himself what only the front says is refused."""
    refusal = answer(f"{settings.current}/problems", "client_cert_not_accepted")
    yield "del-header Upgrade"
    for name in ("client-cert", "client-cert-chain", "client-cert-verify"):
        yield f"return {refusal} if {{ req.fhdr({name}) -m found }}"


def _body_rules(settings: FrontSettings) -> Iterator[str]:
    """A body waits here, not at a line, until it is there: 408 after a while. Of a longer one, a buffer of it waits."""
    too_large = answer(f"{settings.current}/problems", "body_too_large")
    yield f"return {too_large} if {{ req.body_size gt {settings.limits.body_bytes} }}"
    yield f"wait-for-body time {_ms(settings.times.request)}"


def _caller_rules(settings: FrontSettings) -> Iterator[str]:
    """What lines are told of the caller; nothing of it is ever his own word."""
    for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP"):
        yield f"del-header {name}"
    yield f'set-header Forwarded "for=\\"[%[var(txn.src)]]\\"" if {_OF_VERSION[6]}'
    yield f"set-header Forwarded for=%[var(txn.src)] if {_OF_VERSION[4]}"
    yield "set-header Client-Cert :%[ssl_c_der,base64]: if { ssl_c_used 1 }"
    yield "set-header Client-Cert-Verify %[ssl_c_err],%[ssl_c_ca_err] if { ssl_c_used 1 }"
    # Lines take what comes behind a body for headers, too, and HAProxy 2.6 passes it on: beside this word of ours no
    # certificate from there is good, and a second word of the kind is malformed.
    yield f"set-header Client-Cert-Verify {NOT_VERIFIED} unless {{ ssl_c_used 1 }}"
    yield "set-var(txn.fp) ssl_c_der,sha2(256),hex if { ssl_c_used 1 }"
    yield "disable-l7-retry unless METH_GET"


def _route_rules(settings: FrontSettings) -> Iterator[str]:
    """Which instance, and which lines serve it."""
    problems = f"{settings.current}/problems"
    yield f"set-var(txn.hn) req.hdr(host),host_only,lower,{_map(settings, HOST_NAME, 'str')}"
    yield "set-var(txn.seg) path,field(2,/)"
    own = "{ var(txn.hn) -m found } !{ var(txn.seg),strcmp(txn.hn) eq 0 }"
    yield f"set-path /%[var(txn.hn)]%[path] if {own} !{{ var(txn.seg) -m str {_CONTROL_SEGMENTS_OF_HOSTS} }}"
    yield "set-var(txn.seg) path,field(2,/)"
    yield f"set-var(txn.be) str({CONTROL}) if {{ var(txn.seg) -m str {_CONTROL_SEGMENTS} }}"
    yield f"set-var(txn.i) var(txn.seg),{_map(settings, INSTANCE, 'str')} unless {{ var(txn.be) -m found }}"
    unknown = "!{ var(txn.be) -m found } !{ var(txn.i) -m found }"
    yield f"return {answer(problems, 'instance_not_found')} if {unknown}"
    yield f"set-var(txn.be) var(txn.i),{_map(settings, BACKEND, 'str')} if {{ var(txn.i) -m found }}"
    yield f"set-var(txn.edge) var(txn.i),{_map(settings, EDGE_INSTANCE, 'str')} if {{ var(txn.i) -m found }}"
    for version, name in EDGE_NETWORK.items():
        asked = f"{{ var(txn.edge) -m found }} {_OF_VERSION[version]}"
        yield f"set-var(txn.net) src,{_map(settings, name, 'ip')} if {asked}"
    known = "{ var(txn.edge) -m found } { var(txn.net) -m found }"
    yield f"set-var(txn.near) var(txn.i),concat(|,txn.net),{_map(settings, EDGE, 'str')} if {known}"
    stranger = "{ var(txn.edge) -m found } !{ var(txn.near) -m found } { path,field(3,/) -m str api soap }"
    silent = "!{ req.fhdr(authorization) -m found } !{ ssl_c_used 1 }"
    yield f"return {answer(problems, 'network_not_allowed')} if {stranger} {silent}"


def _sticky_rules(settings: FrontSettings) -> Iterator[str]:
    """Where a sticky caller was before, and whether he may go there still."""
    yield "set-var(txn.sk) var(txn.i),concat(|,txn.client) if { var(txn.client) -m found }"
    yield "set-var(txn.sid) var(txn.sk),table_server_id(sticky) if { var(txn.sk) -m found }"
    stays = f"var(txn.be),concat(|,txn.sid),{_map(settings, STICKY, 'str')}"
    yield f"set-var(txn.stays) {stays} if {{ var(txn.sid) -m found }}"


def _log_and_connections(settings: FrontSettings) -> Iterator[str]:
    yield f"  log-format '{{{','.join(_LOG_FIELDS)}}}'"
    for rule in connection_rules(settings):
        yield f"  tcp-request connection {rule}"


def _answer_lines() -> Iterator[str]:
    """What every answer has, a line's and the front's own."""
    for rule in (
        f"set-header Strict-Transport-Security max-age={_HSTS_SECONDS} if {{ ssl_fc }}",
        "set-header X-Content-Type-Options nosniff",
        "set-header Referrer-Policy no-referrer unless { res.hdr(referrer-policy) -m found }",
        "set-header Request-Id %[var(txn.rid)] if { var(txn.rid) -m found }",
        "del-header Server",
    ):
        yield f"  http-after-response {rule}"


def _backend_lines(settings: FrontSettings, backend: Backend) -> Iterator[str]:
    yield f"backend {backend.name} from {'groups' if backend.kind == 'group' else 'lines'}"
    if backend.kind == "control":
        yield f"  {own_error(f'{settings.current}/problems', 'control_unavailable')}"
    else:
        yield "  stick match var(txn.sk) table sticky if { var(txn.stays) -m found }"
        yield "  stick store-request var(txn.sk) table sticky if { var(txn.sk) -m found }"
    for number in sorted(backend.servers):
        yield server_line(backend, backend.servers[number])


def _map(settings: FrontSettings, name: str, kind: str) -> str:
    return f"map_{kind}({settings.current}/maps/{name})"


def _bind(address: str) -> str:
    return f"{address} v6only" if address.startswith("[") else address


def _tls(settings: FrontSettings, bind: FrontBind) -> str:
    if bind.kind == "plain":
        return ""
    current = settings.current
    # With `ca-verify-file` alone, names of customers' authorities are not sent to whoever connects.
    trust = f"ca-verify-file {current}/{AUTHORITIES} crl-file {current}/{REVOCATION_LISTS}"
    lenient = "verify optional ca-ignore-err all crt-ignore-err all"
    return f" ssl crt-list {current}/{CERTIFICATE_LIST} alpn h2,http/1.1 {trust} {lenient}"


def _ms(duration: timedelta) -> str:
    return f"{round(duration.total_seconds() * 1000)}ms"

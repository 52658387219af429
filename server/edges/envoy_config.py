"""Envoy's own configuration for one worker: a listener, TLS, CORS, and the ASGI application as the last filter. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from server.sections import ServerConfig, TlsConfig

_TYPES = "type.googleapis.com/envoy.extensions."
# Connections of one worker: far more than its calls in flight, and fewer than the files that a process may open.
_CONNECTIONS = 10_000
# Bytes that a client may send on a stream, and on a connection, before they are read: some large requests.
_STREAM_WINDOW, _CONNECTION_WINDOW = 1 << 20, 16 << 20
# Room (bytes) beyond the largest request in which one that is larger still comes while it is being refused.
_SLACK = 64 << 20
# How long a browser may remember what it may call.
_PREFLIGHT_SECONDS = "7200"


def envoy_config(
    config: ServerConfig, address: str, port: int, module: str, app: str, admin: Path
) -> dict[str, Any]:
    """What Envoy is started with.

    Args:
        address: the IP address to listen on.
        module: path of pyvoy's shared library.
        app: "module:attribute" of the ASGI application.
        admin: the Unix socket at which Envoy takes orders.
    """
    filters = [_terminal(module, app)]
    route: dict[str, Any] = {"match": {"prefix": "/"}, "non_forwarding_action": {}}
    if config.cors:
        filters.insert(0, _filter("cors", "filters.http.cors.v3.Cors"))
        route["typed_per_filter_config"] = {"envoy.filters.http.cors": _cors(config.cors)}
    manager = {
        "@type": f"{_TYPES}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "rankd",
        "route_config": {"virtual_hosts": [{"name": "rankd", "domains": ["*"], "routes": [route]}]},
        "http_filters": filters,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        # A stream may be silent for as long as its client likes; one that has vanished is found by pings.
        "stream_idle_timeout": "0s",
        "request_headers_timeout": "10s",
        "http2_protocol_options": {
            "max_concurrent_streams": config.max_streams,
            "initial_stream_window_size": _STREAM_WINDOW,
            "initial_connection_window_size": _CONNECTION_WINDOW,
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
    }
    chain: dict[str, Any] = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    if config.tls is not None:
        chain["transport_socket"] = _tls(config.tls)
    listener = {
        "name": "rankd",
        "address": _socket(address, port),
        "enable_reuse_port": True,
        "per_connection_buffer_limit_bytes": config.max_message_bytes + _SLACK,
        "filter_chains": [chain],
    }
    return {
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "static_resources": {"listeners": [listener]},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPES}resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": _CONNECTIONS,
                    },
                }
            ]
        },
    }


def _socket(address: str, port: int) -> dict[str, Any]:
    socket: dict[str, Any] = {"address": address, "port_value": port}
    if address == "::":
        socket["ipv4_compat"] = True  # as other servers take it: every address there is
    return {"socket_address": socket}


def _filter(name: str, kind: str, **settings: object) -> dict[str, Any]:
    typed = {"@type": _TYPES + kind, **settings}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


def _terminal(module: str, app: str) -> dict[str, Any]:
    """pyvoy's filter, which runs the application."""
    settings = {"app": app, "interface": "asgi", "root_path": "", "lifespan": True}
    value = {
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": json.dumps(settings),
    }
    return _filter(
        "pyvoy",
        "filters.http.dynamic_modules.v3.DynamicModuleFilter",
        dynamic_module_config={"module": {"local": {"filename": module}}},
        filter_name="pyvoy",
        terminal_filter=True,
        filter_config=value,
    )


def _cors(origins: list[str]) -> dict[str, Any]:
    everyone = "*" in origins
    return {
        "@type": f"{_TYPES}filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"prefix": ""}]
        if everyone
        else [{"exact": origin} for origin in origins],
        "allow_methods": "POST",
        "allow_headers": "content-type,connect-protocol-version,connect-timeout-ms,content-encoding",
        "max_age": _PREFLIGHT_SECONDS,
    }


def _tls(tls: TlsConfig) -> dict[str, Any]:
    context: dict[str, Any] = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(tls.certificate.resolve())},
                "private_key": {"filename": str(tls.key.resolve())},
            }
        ],
    }
    if tls.client_ca is not None:
        authority = {"filename": str(tls.client_ca.resolve())}
        context["validation_context"] = {"trusted_ca": authority}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPES}transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": context,
            "require_client_certificate": tls.client_ca is not None,
        },
    }

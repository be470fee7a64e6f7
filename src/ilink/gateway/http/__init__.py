"""The protocol over HTTP: paths, methods, headers, bodies; no rules."""

from __future__ import annotations

from ilink.gateway.http.app import Interceptor, ProtocolApp

__all__ = ["Interceptor", "ProtocolApp"]

"""The protocol over HTTP: paths, methods, headers, bodies; no rules."""

from __future__ import annotations

from ilink.gateway.http.app import ProtocolApp
from ilink.gateway.http.cdn import CdnDoor

__all__ = ["CdnDoor", "ProtocolApp"]

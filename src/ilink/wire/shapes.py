"""Telling objects and arrays apart in JSON that was decoded without a model."""

from __future__ import annotations

from typing import TypeGuard

__all__ = ["is_array", "is_object"]


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Tell whether a decoded JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[object]]:
    """Tell whether a decoded JSON value is an array."""
    return isinstance(value, list)

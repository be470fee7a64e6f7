"""Writes the pages of docs/reference that are drawn from code: `python docs/generate.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ilink.gateway.control.app import CALLS
from ilink.gateway.control.openapi import draw_openapi
from ilink.gateway.fault_actions import ACTIONS, Action
from ilink.gateway.findings import FINDINGS
from ilink.gateway.knob_table import KNOBS, PROFILES, Knob

REFERENCE = Path(__file__).parent / "reference"
EVERY_ENDPOINT = ACTIONS["delay_ms"].endpoints


def knobs() -> str:
    """Return the page of the gateway's knobs and profiles."""
    rows = [
        f"| `{knob.name}` | {_shown(knob.default)} | {_cell(knob.allowed)} | {_scopes(knob)} | {_cell(knob.evidence)} |"
        for knob in sorted(KNOBS.values(), key=lambda knob: knob.name)
    ]
    profiles = [f"| `{name}` | {_differences(values)} |" for name, values in PROFILES.items()]
    return "\n".join(
        [
            "# Knobs and their evidence",
            "",
            "Where reports about WeChat differ, the gateway has a knob; where nobody knows, it says so.",
            "Set them with `PUT /_sim/config`, or choose a profile with `ilink gateway --profile NAME`.",
            "This page is generated from the table that the gateway itself uses.",
            "",
            "Each is for the whole gateway, or with `bot_id` for one bot,",
            "or with `user_id` for what one person and bots do with each other;",
            "where a call names nobody, the bot's owner is meant.",
            "A person's values come before a bot's, and a bot's before the gateway's;",
            "`DELETE /_sim/config` with the same field takes them away.",
            "",
            "```json",
            '{"bot_id": "0123456789ab@im.bot", "profile": "strict", "knobs": {"quota.per_inbound": 3}}',
            "```",
            "",
            "| Knob | Default | Allowed | Also per | What it does, and what is known |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "## Per gateway only, or per person only",
            "",
            *(f"- `{knob.name}`: {knob.why_wide}" for knob in KNOBS.values() if knob.why_wide),
            "",
            "## Profiles",
            "",
            "| Profile | Differs from the defaults in |",
            "|---|---|",
            *profiles,
            "",
        ]
    )


def faults() -> str:
    """Return the page of what can be made to fail."""
    rows = [
        f"| {_action(action)} | {_places(action.endpoints)} | {_cell(action.words)} | {_cell(action.evidence)} |"
        for action in ACTIONS.values()
    ]
    return "\n".join(
        [
            "# Faults: failures on purpose",
            "",
            "What WeChat, its CDN and the networks between do badly, the gateway does when it is asked to.",
            "Set a fault with `POST /_sim/faults`, look at all with `GET`, remove them with `DELETE`;",
            "in tests, `gateway.fault(...)` of `ilink.testing` does the same.",
            "Faults live in memory and go with a reset or a restart.",
            "This page is generated from the table that the gateway itself uses.",
            "",
            "```json",
            '{"endpoint": "sendmessage", "nth": 3, "times": 2, "action": {"ret": -2, "errmsg": "prepare failed"}}',
            "```",
            "",
            "## Which requests",
            "",
            "| Field | Means |",
            "|---|---|",
            f"| `endpoint` | {', '.join(f'`{name}`' for name in sorted(EVERY_ENDPOINT))}, or `*` for all |",
            "| `bot_id` | requests of this bot; at the CDN, for its uploads and for what was sent to it |",
            "| `user_id` | requests that name this person, polls answered with their messages, else their own bot's |",
            "| `nth` | the first of the fitting requests that is struck, from 1; alone it means just that one |",
            "| `times` | how many are struck; without it, and without `nth`, every one is |",
            "| `probability` | the chance of each to be struck, from 0 to 1 |",
            "| `after_s` | it sleeps for so many seconds after it was set |",
            "| `for_s` | then it is at work for so many seconds; without it, from then on |",
            "| `every_s` | and begins anew every so many seconds; longer than `for_s` |",
            "",
            "Chance comes from a random stream of each fault's own, so that with a seed the same requests fail.",
            "The seconds of a schedule are the gateway's clock's, so a test that moves the clock moves them;",
            "an answer is struck if its fault is at work when it leaves.",
            "While a fault sleeps, nothing fits it.",
            "A fault that changes messages waits for a poll whose answer has some.",
            "Several faults may strike one request: delays add up, the first that answers or cuts wins,",
            "and what changes an answer is done in the order in which the faults were set.",
            "`matched` says how many requests fitted a fault, `hits` how many it struck;",
            "each hit is an event `fault`, and stands in the wire log beside the exchange.",
            "",
            "## What happens to them",
            "",
            "| Action | Where | What the caller sees | What is known |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def findings() -> str:
    """Return the page of what the wire log finds."""
    rows = [f"| `{one.code}` | {_cell(one.words)} | {_cell(one.evidence)} |" for one in FINDINGS.values()]
    return "\n".join(
        [
            "# Findings: what a client should do otherwise",
            "",
            "The gateway answers what it can, and notes beside each exchange what the protocol's notes advise against.",
            "Look at them with `GET /_sim/wire` or on the phone page; codes stay what they are.",
            "In tests, `gateway.assert_no_findings()` of `ilink.testing` fails with them.",
            "What the gateway's own faults are to blame for is not held against the client.",
            "This page is generated from the table that the gateway itself uses.",
            "",
            "| Finding | What the client did, and should do | Why it matters |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _scopes(knob: Knob) -> str:
    return ", ".join(knob.scopes) or "–"


def _action(action: Action) -> str:
    return ", ".join(f"`{key}`" for key in action.keys)


def _places(endpoints: frozenset[str]) -> str:
    if endpoints == EVERY_ENDPOINT:
        return "everywhere"
    cdn = {"cdn_upload", "cdn_download"}
    if endpoints == EVERY_ENDPOINT - cdn:
        return "the protocol"
    return "the CDN" if endpoints == cdn else ", ".join(f"`{name}`" for name in sorted(endpoints))


def _differences(values: Mapping[str, object]) -> str:
    return ", ".join(f"`{knob}` = {_shown(value)}" for knob, value in sorted(values.items())) or "the defaults"


def control_api() -> str:
    """Return the page of the control API's calls."""
    document = json.loads(draw_openapi(CALLS, has_key=True))
    schemas = document["components"]["schemas"]
    calls = [
        line
        for path, methods in document["paths"].items()
        for method, call in methods.items()
        for line in _call(method.upper(), path, call, schemas)
    ]
    return "\n".join(
        [
            "# The control API",
            "",
            "Whatever the phone page can do, these calls can do; tests and tools use them too.",
            "They are served on a listener of their own, whose address is `control_url` in the ready line.",
            "On loopback it needs no key unless one is set; on any other address a key is required.",
            "With a key, send `Authorization: Bearer KEY`, or open a login link in the browser.",
            "JSON goes in and out; times are RFC 3339 in UTC; ids are texts.",
            "An unknown field is refused with 422 and its name.",
            'Errors are `{"error":{"code":…,"message":…,"hint":…}}` with a fitting HTTP status.',
            "The OpenAPI document is at `/_sim/openapi.json`; this page is generated from it.",
            "",
            *calls,
            "## The objects",
            "",
            *(line for name, schema in sorted(schemas.items()) for line in _object(name, schema)),
        ]
    )


def _object(name: str, schema: dict) -> list[str]:
    words = schema.get("description", "").partition("\n\n")[0]
    return [f"### {name}", "", _cell(words), "", *_fields("", schema), ""]


def _call(method: str, path: str, call: dict, schemas: dict) -> list[str]:
    lines = [f"## {method} {path}", "", call["description"], ""]
    lines += [
        f"- query `{one['name']}`: {_type(one['schema'])}" for one in call.get("parameters", []) if one["in"] == "query"
    ]
    for kind, content in call.get("requestBody", {}).get("content", {}).items():
        lines += _fields(kind, _resolved(content["schema"], schemas))
    success, answer = next((status, one) for status, one in call["responses"].items() if status.startswith("2"))
    names = [_answer_name(content["schema"]) or kind for kind, content in answer.get("content", {}).items()]
    lines += [f"- answers {success}" + (f": {', '.join(names)}" if names else ""), ""]
    return lines


def _fields(kind: str, schema: dict) -> list[str]:
    required = schema.get("required", [])
    return [
        f"- {_lead(kind)}`{name}`{'' if name in required else ', optional'}: {_type(field)}"
        for name, field in schema.get("properties", {}).items()
    ]


def _lead(kind: str) -> str:
    return f"{kind.partition('/')[2]} " if kind else ""


def _type(schema: dict) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return _answer_name(schema) or str(schema.get("type", "any"))


def _answer_name(schema: dict) -> str:
    if "oneOf" in schema:
        return " or ".join(_answer_name(one) for one in schema["oneOf"])
    return f"`{schema['$ref'].rpartition('/')[2]}`" if "$ref" in schema else ""


def _resolved(schema: dict, schemas: dict) -> dict:
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _shown(value: object) -> str:
    return "`null`" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"control-api.md": control_api, "faults.md": faults, "findings.md": findings, "knobs.md": knobs}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()

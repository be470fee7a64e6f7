"""Writes the pages of docs/reference that are drawn from code: `python docs/generate.py`."""

from __future__ import annotations

from pathlib import Path

from ilink.gateway.knobs import KNOBS, PROFILES

REFERENCE = Path(__file__).parent / "reference"


def knobs() -> str:
    """Return the page of the gateway's knobs and profiles."""
    rows = [
        f"| `{knob.name}` | {_shown(knob.default)} | {_cell(knob.allowed)} | {_cell(knob.evidence)} |"
        for knob in sorted(KNOBS.values(), key=lambda knob: knob.name)
    ]
    profiles = [
        f"| `{name}` | {', '.join(f'`{knob}` = {_shown(value)}' for knob, value in sorted(values.items())) or 'the defaults'} |"
        for name, values in PROFILES.items()
    ]
    return "\n".join(
        [
            "# Knobs and their evidence",
            "",
            "Where reports about WeChat differ, the gateway has a knob; where nobody knows, it says so.",
            "Set them with `PUT /_sim/config`, or choose a profile with `ilink gateway --profile NAME`.",
            "This page is generated from the table that the gateway itself uses.",
            "",
            "| Knob | Default | Allowed | What it does, and what is known |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Profiles",
            "",
            "| Profile | Differs from the defaults in |",
            "|---|---|",
            *profiles,
            "",
        ]
    )


def _shown(value: object) -> str:
    return "`null`" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"knobs.md": knobs}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()

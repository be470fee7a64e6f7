"""Fetch the phone page's third-party modules and lay them under src/ilink/phone/vendor as files a browser can load.

Run it by hand to change a version; nobody needs it to use or to test ilink. It needs npm, only as a downloader:
bare import specifiers are rewritten to relative paths, because the page's content security policy allows no import map.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "src/ilink/phone/vendor"
TESTS = ROOT / "tests/phone/vendor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package: its pinned version, its licence, and where its wanted files go."""

    name: str
    version: str
    licence: str
    files: dict[str, str]
    home: Path = PAGE


PACKAGES = (
    Package(
        name="lit",
        version="3.3.3",
        licence="BSD-3-Clause",
        files={"index.js": "lit/index.js", "LICENSE": "lit/LICENSE"},
    ),
    Package(
        name="lit-element",
        version="4.2.2",
        licence="BSD-3-Clause",
        files={"lit-element.js": "lit/lit-element.js"},
    ),
    Package(
        name="@lit/reactive-element",
        version="2.1.2",
        licence="BSD-3-Clause",
        files={"reactive-element.js": "lit/reactive-element.js", "css-tag.js": "lit/css-tag.js"},
    ),
    Package(
        name="lit-html",
        version="3.3.3",
        licence="BSD-3-Clause",
        files={
            "lit-html.js": "lit/lit-html.js",
            "is-server.js": "lit/is-server.js",
            "directive.js": "lit/directive.js",
            "directive-helpers.js": "lit/directive-helpers.js",
            "directives/live.js": "lit/directives/live.js",
            "directives/repeat.js": "lit/directives/repeat.js",
        },
    ),
    Package(
        name="qrcode-generator",
        version="2.0.4",
        licence="MIT",
        files={"dist/qrcode.mjs": "qrcode/qrcode.js"},
    ),
    Package(
        name="jsqr",
        version="1.4.0",
        licence="Apache-2.0",
        files={"dist/jsQR.js": "jsqr/jsQR.js", "LICENSE": "jsqr/LICENSE"},
    ),
    Package(
        name="axe-core",
        version="4.14.1",
        licence="MPL-2.0",
        files={"axe.min.js": "axe.min.js", "LICENSE": "LICENSE"},
        home=TESTS,
    ),
)

BARE = {
    "lit-html": "lit/lit-html.js",
    "lit-html/is-server.js": "lit/is-server.js",
    "lit-element/lit-element.js": "lit/lit-element.js",
    "@lit/reactive-element": "lit/reactive-element.js",
}
"""Bare specifiers that the modules import, and the file each means."""

SPECIFIER = re.compile(r'(\bfrom\s*|\bimport\s*)"(?P<name>[@\w][^"]*)"')
SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


def main() -> int:
    """Fetch every package and write its files; exit 0 when all of them are in place."""
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            archive = fetch(package, Path(folder))
            with tarfile.open(archive) as contents:
                for source, target in package.files.items():
                    write(contents, source, package.home, target)
            print(f"{package.name} {package.version} ({package.licence})")
    return 0


def fetch(package: Package, folder: Path) -> Path:
    """Have npm download the pinned version; npm checks the archive against the registry's digest."""
    command = ["npm", "pack", "--json", "--pack-destination", str(folder), f"{package.name}@{package.version}"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return folder / json.loads(run.stdout)[0]["filename"].replace("@", "").replace("/", "-")


def write(contents: tarfile.TarFile, source: str, home: Path, target: str) -> None:
    """Write one file of the archive, its imports made relative and its link to a source map dropped."""
    member = contents.extractfile(f"package/{source}")
    if member is None:
        raise FileNotFoundError(f"package/{source} is not in the archive: the package moved it, mend PACKAGES")
    text = member.read().decode("utf-8")
    if target.endswith(".js") and home == PAGE:
        text = SPECIFIER.sub(lambda match: match[1] + f'"{relative(match["name"], target)}"', text)
        text = SOURCE_MAP.sub("", text).rstrip() + "\n"
    path = home / target
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def relative(specifier: str, importer: str) -> str:
    """Spell a bare specifier as the path from the importing file to the vendored one."""
    ups = len(PurePosixPath(importer).parts) - 1
    return f"{'../' * ups}{BARE[specifier]}" if ups else f"./{BARE[specifier]}"


if __name__ == "__main__":
    sys.exit(main())

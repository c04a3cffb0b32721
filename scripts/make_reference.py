"""Write the pages of docs/ that are made from the code: `settings.md` and `attributes.md`.

python scripts/make_reference.py            writes them
python scripts/make_reference.py --check    tells whether they are current
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from otelier import names
from otelier.settings import Setting, all_settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
ENTRY = re.compile(
    r'^# -+ (?P<heading>.+?) -+$|^(?P<constant>[A-Z_]+): Final = .*\n"""(?P<meaning>.+?)"""$',
    re.MULTILINE,
)
"""A section of `names.py`, or a name with the line below it."""
NOTE = "<!-- Made by scripts/make_reference.py; `make fix` writes it anew. -->"


def settings_page() -> str:
    """The page of every environment variable."""
    ours, theirs = [], []
    for setting in all_settings():
        (ours if setting.variable.startswith("OTELIER_") else theirs).append(setting)
    return "\n".join(
        [
            "# Settings",
            "",
            NOTE,
            "",
            "A value is taken from the first of these that is set: argument, environment variable, default.",
            "Variables are read when otelier is switched on (`init`, `activate`, `instrument`), never at import.",
            "An agent that runs before that reads those about content when its run starts.",
            "An empty variable counts as unset.",
            "For an invalid `OTELIER_` variable, `init` raises a `SettingError` with its name and the allowed values.",
            "Without `init`, and for OpenTelemetry's variables, a warning says the same, and the default applies.",
            "With `OTELIER_METRIC_TENANTS` it is always a warning: a list of customers grows.",
            "",
            "## otelier's variables",
            "",
            *_settings_table(ours),
            "",
            "## OpenTelemetry's variables that otelier also reads",
            "",
            *_settings_table(theirs),
            "",
            "OpenTelemetry's documentation lists the other variables that its SDK and instrumentations read.",
            "",
        ]
    )


def attributes_page() -> str:
    """The page of every name that goes on the wire."""
    lines = ["# Attributes, metrics and events", "", NOTE, "", "Each name is a constant of `otelier.names`."]
    lines += [
        "Names that start with `otelier.` are otelier's own; the others come from OpenTelemetry's semantic conventions."
    ]
    source = Path(names.__file__).read_text(encoding="utf-8")
    rows: dict[str, list[tuple[str, ...]]] = {}
    heading = "instrumentation scopes"
    for found in ENTRY.finditer(source):
        if found["heading"]:
            heading = found["heading"]
        else:
            row = (f"`{getattr(names, found['constant'])}`", f"`{found['constant']}`", found["meaning"])
            rows.setdefault(heading, []).append(row)
    for heading, entries in rows.items():
        lines += ["", f"## {heading[0].upper()}{heading[1:]}", "", *_table(("name", "constant", "meaning"), entries)]
    return "\n".join([*lines, ""])


def _settings_table(settings: list[Setting[object]]) -> list[str]:
    rows = [(f"`{one.variable}`", one.kind, _shown(one.default), one.meaning) for one in settings]
    return _table(("variable", "type and unit", "default", "what it does"), rows)


def _shown(default: object) -> str:
    if default is None or default == frozenset():
        return "unset"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


PAGES = {"settings.md": settings_page, "attributes.md": attributes_page}


def main() -> None:
    """Write the pages, or with `--check` say which are not current."""
    stale = [name for name, page in PAGES.items() if not _is_current(DOCS / name, page())]
    if "--check" in sys.argv[1:]:
        raise SystemExit(f"Not current: {', '.join(stale)}. Run `make fix`." if stale else 0)
    for name in stale:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/{name}")


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()

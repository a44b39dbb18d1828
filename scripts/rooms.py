"""Draws the rooms of the package: who imports whom, read from the source by `ast`.

    python scripts/rooms.py > docs/rooms.svg

A room is a folder or a module directly in src/unsee; it stands one floor above the highest room that it imports. A line
goes down from each room to every room that it imports.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from markupsafe import Markup

SOURCE = Path(__file__).parents[1] / "src" / "unsee"
WIDTH, ROW, BOX, TALL, SHIFT = 900, 84, 112, 34, 40
STYLE = Markup(
    "<style>text{font:13px system-ui,sans-serif;fill:#1c1e21}rect{fill:#f4f4f1;stroke:#69717a}"
    "path{fill:none;stroke:#69717a;opacity:.35}"
    "@media(prefers-color-scheme:dark){text{fill:#e6e7e5}rect{fill:#23272b;stroke:#a9aeb4}path{stroke:#a9aeb4}}</style>"
)


def imported(file: Path) -> Iterator[str]:
    """The rooms that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "unsee":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]


def rooms() -> dict[str, set[str]]:
    """Each room with those that it imports."""
    names = {file.relative_to(SOURCE).parts[0].removesuffix(".py") for file in SOURCE.rglob("*.py")} - {"__init__"}
    found: dict[str, set[str]] = {}
    for name in sorted(names):
        files = [SOURCE / f"{name}.py"] if (SOURCE / f"{name}.py").exists() else sorted((SOURCE / name).rglob("*.py"))
        found[name] = {other for file in files for other in imported(file)} & names - {name}
    return found


def floors(known: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each room, 0 for those that import none."""
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((floor(other) for other in known[name]), default=-1)
        return found[name]

    for name in known:
        floor(name)
    return found


def draw() -> str:
    """The picture as SVG."""
    known = rooms()
    level = floors(known)
    top = max(level.values())
    place = {}
    for floor in range(top + 1):
        own = [name for name in known if level[name] == floor]
        for number, name in enumerate(own, 1):
            aside = SHIFT if floor % 2 else -SHIFT  # so that a line seldom runs through the room between
            place[name] = (WIDTH * number / (len(own) + 1) + aside, 20 + ROW * (top - floor))
    parts = [STYLE]
    for name, others in known.items():
        x, y = place[name]
        for other in sorted(others):
            to, down = place[other]
            middle = (y + TALL + down) / 2
            line = Markup('<path d="M{:.0f} {:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}"/>')
            parts.append(line.format(x, y + TALL, x, middle, to, middle, to, down))
    for name, (x, y) in place.items():
        parts.append(
            Markup('<rect x="{:.0f}" y="{}" width="{}" height="{}" rx="4"/>').format(x - BOX / 2, y, BOX, TALL)
        )
        parts.append(Markup('<text x="{:.0f}" y="{}" text-anchor="middle">{}</text>').format(x, y + 22, name))
    count = sum(map(len, known.values()))
    title = f"{len(known)} rooms on {top + 1} floors, {count} lines"
    frame = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>')
    return str(frame.format(WIDTH, ROW * top + TALL + 40, title, Markup("").join(parts)))


if __name__ == "__main__":
    print(draw())

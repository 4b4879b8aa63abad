"""Draws docs/architecture.svg from the import statements of the code: python docs/architecture.py"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH, ROW, BOX = 900, 56, 190


def room(module: str) -> str:
    """The first two parts of a module's name in explorer, the first one elsewhere."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] == "explorer" else 1])


def arrows() -> dict[str, set[str]]:
    """Each room, and the other rooms that its modules import."""
    found: dict[str, set[str]] = {}
    for path in sorted([*ROOT.glob("explorer/**/*.py"), *ROOT.glob("training/**/*.py")]):
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
        if here in ("explorer", "explorer.__main__"):  # doors, which open every room
            continue
        targets = found.setdefault(here, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.split(".")[0] in ("explorer", "training")
            ):
                names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "explorer" else []
                targets.update(room(name) for name in names or [node.module])
        targets.discard(here)
    return {here: targets & found.keys() for here, targets in found.items()}


def floors(imports: dict[str, set[str]]) -> dict[str, int]:
    """How many rooms lie below each one, along the longest way down."""
    height: dict[str, int] = {}
    for _ in imports:
        height = {
            here: 1 + max((height.get(other, 0) for other in below), default=-1) for here, below in imports.items()
        }
    return height


def main() -> None:
    imports = arrows()
    height = floors(imports)
    top = max(height.values())
    place: dict[str, tuple[float, float]] = {}
    for floor in range(top + 1):
        rooms = sorted(name for name in imports if height[name] == floor)
        for k, name in enumerate(rooms):
            place[name] = ((k + 0.5) * WIDTH / len(rooms), (top - floor) * 2 * ROW + ROW)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {(top + 1) * 2 * ROW}" '
        'font-family="sans-serif" font-size="14" text-anchor="middle">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for name, below in sorted(imports.items()):
        for other in sorted(below):
            (x, y), (u, v) = place[name], place[other]
            lines.append(f'<path d="M{x:.0f} {y + 16:.0f}L{u:.0f} {v - 16:.0f}" stroke="#99a"/>')
    for name, (x, y) in sorted(place.items()):
        lines.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y - 16:.0f}" width="{BOX}" height="32" rx="6" fill="#eef" stroke="#446"/>'
        )
        lines.append(f'<text x="{x:.0f}" y="{y + 5:.0f}">{name}</text>')
    (ROOT / "docs" / "architecture.svg").write_text("\n".join([*lines, "</svg>", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()

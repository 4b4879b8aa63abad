"""Draws docs/architecture.svg from the import statements of the code: python docs/architecture.py

An arrow says "imports". One that a longer way already implies is left out, and so are the doors, which open every room.
"""

import ast
from itertools import pairwise
from pathlib import Path

import networkx as nx  # comes with torch

ROOT = Path(__file__).resolve().parents[1]
WIDTH, FLOOR, HIGH = 620, 68, 30  # of a package, from floor to floor, of a box
PASSING = 0.45  # of a box's width: the room for an arrow that passes a floor
STYLE = """
text { font: 14px sans-serif; text-anchor: middle; fill: #1f2328 } .title { font-weight: bold }
.paper { fill: #ffffff } .room { fill: #eef1ff; stroke: #4a5a9a }
.way { fill: none; stroke: #7d87a8 } .tip { fill: #7d87a8 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .paper { fill: #0d1117 } .room { fill: #1c2440; stroke: #8fa2ff }
.way { stroke: #8490b8 } .tip { fill: #8490b8 }
}"""


def rooms(package: str) -> nx.DiGraph:
    """The modules and folders of a package, and which of the others each one imports."""
    known = {
        path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    graph = nx.DiGraph()
    graph.add_nodes_from(sorted(known - {"__init__", "__main__"}))
    for here in graph:
        folder = ROOT / package / here
        for path in sorted(folder.glob("**/*.py") if folder.is_dir() else [folder.with_suffix(".py")]):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    named = [f"{node.module}.{alias.name}".split(".") for alias in node.names]
                    graph.add_edges_from((here, name[1]) for name in named if name[0] == package and name[1] in graph)
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    return nx.transitive_reduction(graph)


def floors(graph: nx.DiGraph) -> list[list[object]]:
    """The nodes from the top floor down, each below all that import it, in an order with few crossings.

    Where an arrow passes a floor, a node without a name is put into it, so that it goes through no box.
    """
    found: list[list[object]] = [sorted(rank) for rank in nx.topological_generations(graph)]
    level = {name: k for k, rank in enumerate(found) for name in rank}
    for start, end in sorted(graph.edges):
        passed = [(start, end, k) for k in range(level[start] + 1, level[end])]
        if passed:
            graph.remove_edge(start, end)
            nx.add_path(graph, [start, *passed, end])
            for place in passed:
                found[place[2]].append(place)
    for sweep in range(24):  # barycentres, after Sugiyama et al. (1981), downwards and upwards in turns
        down = sweep % 2 == 0
        ranks = found if down else found[::-1]
        for before, rank in pairwise(ranks):
            at = dict(zip(before, places(before), strict=True))
            beside = graph.predecessors if down else graph.successors
            middle = {node: [at[other] for other in beside(node)] or [WIDTH / 2] for node in rank}
            rank.sort(key=lambda node: sum(middle[node]) / len(middle[node]))
    return found


def places(rank: list[object]) -> list[float]:
    """Where the nodes of one floor stand, from left to right."""
    widths = [1.0 if isinstance(node, str) else PASSING for node in rank]
    unit = WIDTH / max(sum(widths), 3)
    left = (WIDTH - unit * sum(widths)) / 2
    return [left + unit * (sum(widths[:k]) + width / 2) for k, width in enumerate(widths)]


def drawing(package: str, left: float) -> tuple[list[str], float]:
    """The boxes and arrows of one package, and how high they are."""
    graph = rooms(package)
    found = floors(graph)
    at: dict[object, tuple[float, float]] = {
        node: (left + x, 74 + k * FLOOR)
        for k, rank in enumerate(found)
        for node, x in zip(rank, places(rank), strict=True)
    }
    lines = [f'<text class="title" x="{left + WIDTH / 2:.0f}" y="34">{package}</text>']
    for start, end in sorted(graph.edges, key=str):
        (x, y), (u, v) = at[start], at[end]
        y += HIGH / 2 * isinstance(start, str)
        v -= (HIGH / 2 + 6) * isinstance(end, str)
        tip = ' marker-end="url(#tip)"' if isinstance(end, str) else ""
        bend = (v - y) / 2
        lines.append(
            f'<path class="way" d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} '
            f'{u:.0f} {v - bend:.0f} {u:.0f} {v:.0f}"{tip}/>'
        )
    for node, (x, y) in at.items():
        if isinstance(node, str):
            wide = 9 * len(node) + 22
            lines.append(
                f'<rect class="room" x="{x - wide / 2:.0f}" y="{y - HIGH / 2:.0f}" '
                f'width="{wide}" height="{HIGH}" rx="6"/>'
            )
            lines.append(f'<text x="{x:.0f}" y="{y + 5:.0f}">{node}</text>')
    return lines, 74 + len(found) * FLOOR


def main() -> None:
    explorer, training = drawing("explorer", 0), drawing("training", WIDTH)
    height = max(explorer[1], training[1]) - FLOOR / 2
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {height:.0f}">',
        f"<style>{STYLE}</style>",
        '<marker id="tip" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="tip" d="M0 0L8 4L0 8z"/></marker>',
        '<rect class="paper" width="100%" height="100%"/>',
    ]
    text = "\n".join([*head, *explorer[0], *training[0], "</svg>", ""])
    (ROOT / "docs" / "architecture.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Series over time as one SVG, one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, GAP = 760, 90, 150, 26


def draw(minutes: Sequence[float], series: Mapping[str, Sequence[float]]) -> str:
    """An SVG of all ``series`` over ``minutes``; each from zero to its own maximum, which is written beside it."""
    total = len(series) * (HEIGHT + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {total}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{LEFT + WIDTH + 20}" height="{total}" fill="white"/>',
    ]
    for number, (name, values) in enumerate(series.items()):
        bottom = number * (HEIGHT + GAP) + GAP + HEIGHT
        top = max(*values, 1e-9)
        points = " ".join(
            f"{LEFT + WIDTH * at / minutes[-1]:.1f},{bottom - HEIGHT * value / top:.1f}"
            for at, value in zip(minutes, values, strict=True)
        )
        parts += [
            f'<line x1="{LEFT}" y1="{bottom}" x2="{LEFT + WIDTH}" y2="{bottom}" stroke="#999"/>',
            f'<polyline points="{points}" fill="none" stroke="#2a6fbb" stroke-width="1.5"/>',
            f'<text x="{LEFT - 8}" y="{bottom - HEIGHT / 2}" text-anchor="end">{name.replace("_", " ")}</text>',
            f'<text x="{LEFT - 8}" y="{bottom - HEIGHT + 10}" text-anchor="end" fill="#666">{top:,.0f}</text>',
        ]
    parts.append(
        f'<text x="{LEFT + WIDTH}" y="{total - 8}" text-anchor="end" fill="#666">{minutes[-1]:.0f} minutes</text></svg>'
    )
    return "\n".join(parts) + "\n"

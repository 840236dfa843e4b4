"""How numbers and times are written in reports."""

from __future__ import annotations

from markupsafe import Markup, escape


def number(value: float | int | None) -> str:
    """A number with four significant digits; whole numbers with thousands separators.

    >>> number(12345), number(0.123456), number(102700.4), number(None)
    ('12,345', '0.1235', '102,700', '–')
    """
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def signed(value: float) -> str:
    """A change, with its sign, written like ``number``.

    >>> signed(0.02), signed(-3)
    ('+0.02', '−3')
    """
    return f"{'+' if value >= 0 else '−'}{number(abs(value))}"


def percent(value: float | None) -> str:
    """A ratio as a percentage.

    >>> percent(0.1234), percent(None)
    ('12.3 %', '–')
    """
    return "–" if value is None else f"{value * 100:.1f} %"


def day(text: str) -> str:
    """A time given as RFC 3339 in UTC, shortened: the date, and hours and minutes unless it is midnight.

    >>> day("2025-09-27T00:00:00Z"), day("2025-09-27T06:30:00Z")
    ('2025-09-27', '2025-09-27 06:30')
    """
    return text[:10] if text[11:19] == "00:00:00" else f"{text[:10]} {text[11:16]}"


def sentence(text: str) -> Markup:
    """A sentence in which names stand between backticks, as HTML.

    >>> sentence("`age` is missing")
    Markup('<code>age</code> is missing')
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(of) if at % 2 else escape(of) for at, of in enumerate(parts))

"""Numbers as people write them: 12.3M, 4.1 GB, 3 min 20 s. Every function gives a dash for None and for what is not finite."""

import math
from typing import TypeGuard

NONE = "–"
_DECIMAL = ("", "K", "M", "B", "T")
_SI = ("", "k", "M", "G", "T", "P", "E", "Z")


def count(value: float | None) -> str:
    """A count with three digits: 950, 9,500, 12.3K, 12.3M, 4.1B, 1.2T."""
    if not _is_finite(value):
        return NONE
    if abs(value) < 10_000:
        return f"{value:,.0f}"
    return _scaled(value, _DECIMAL, "")


def size(size_bytes: float | None) -> str:
    """A size in decimal units: 312 bytes, 4.1 kB, 4.1 GB."""
    if not _is_finite(size_bytes):
        return NONE
    return f"{size_bytes:.0f} bytes" if abs(size_bytes) < 1000 else f"{_scaled(size_bytes, _SI, ' ')}B"


def flops(value: float | None) -> str:
    """Floating-point operations: 3.2 PFLOP."""
    return f"{_scaled(value, _SI, ' ')}FLOP" if _is_finite(value) else NONE


def duration(seconds: float | None) -> str:
    """A time in its two largest units: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if not _is_finite(seconds):
        return NONE
    if abs(seconds) < 9.95:
        return f"{seconds:.1f} s"
    sign, whole = "-" if seconds < 0 else "", round(abs(seconds))
    if whole < 60:
        return f"{sign}{whole} s"
    if whole < 3600:
        return sign + _pair(whole // 60, "min", whole % 60, "s")
    minutes = round(whole / 60)
    if minutes < 24 * 60:
        return sign + _pair(minutes // 60, "h", minutes % 60, "min")
    hours = round(whole / 3600)
    return sign + _pair(hours // 24, "d", hours % 24, "h")


def share(value: float | None) -> str:
    """A fraction as per cent: 12.3 %."""
    return f"{100 * value:.1f} %" if _is_finite(value) else NONE


def number(value: float | None) -> str:
    """A measured value with the decimals that its size deserves: 0.0031, 0.713, 12.53, 123.4, 1,234, 3e-05."""
    if not _is_finite(value):
        return NONE
    size_of = abs(value)
    if value == 0 or size_of >= 1e7 or size_of < 1e-3:
        return "0" if value == 0 else f"{value:.2g}"
    decimals = 0 if size_of >= 1000 else 1 if size_of >= 100 else 2 if size_of >= 10 else 3 if size_of >= 0.01 else 4
    return f"{value:,.{decimals}f}"


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _scaled(value: float, prefixes: tuple[str, ...], space: str) -> str:
    """Three digits and the prefix that fits; 999,950 rounds up into the next prefix."""
    power = 0
    while power < len(prefixes) - 1 and abs(value) >= 999.5:
        value, power = value / 1000, power + 1
    decimals = 1 if abs(value) < 99.95 and power else 0
    return f"{value:,.{decimals}f}{space}{prefixes[power]}"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"

"""Numbers and sizes with their units."""

UNIT_STEP = 1024
"""Number of times that a binary unit of size is in the next one."""


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it needs one."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def size_text(size_bytes: int) -> str:
    """Return a size for display, in binary units: `23.5 GiB`."""
    size, unit = float(size_bytes), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < UNIT_STEP or unit == "TiB":
            break
        size /= UNIT_STEP
    return f"{size_bytes:,} {'byte' if size_bytes == 1 else 'bytes'}" if unit == "bytes" else f"{size:.1f} {unit}"

"""Write the report of an evaluation: JSON for programs, Markdown for readers, and a chart."""

import json
from pathlib import Path
from typing import Any

from longview.core.atomic import atomic_write

GOOD, BAD = "#2a9d8f", "#e76f51"


def write(folder: Path, name: str, report: dict[str, Any]) -> list[Path]:
    """Write `name.json`, `name.md` and `name.png` into a folder, each complete or not at all. Words have no chart."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{suffix}" for suffix in (("json", "md") if "recognition" in report else ("json", "md", "png"))]
    with atomic_write(paths[0]) as partial:
        partial.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with atomic_write(paths[1]) as partial:
        partial.write_text(markdown(report), encoding="utf-8")
    for path in paths[2:]:
        with atomic_write(path) as partial:
            (_heat_map if "needle" in report else _bars)(report, partial)
    return paths


def markdown(report: dict[str, Any]) -> str:
    """Return the figures of a report as tables."""
    lines = [f"# {report['suite']}", "", f"Checkpoint {report['checkpoint']}, on {report['device']}.", ""]
    if "needle" in report:
        return "\n".join([*lines, *_needle_table(report["needle"]), ""])
    if "recognition" in report:
        return "\n".join([*lines, *_word_tables(report), ""])
    scores = report["scores"]
    lines += [f"{scores['videos']} videos, {scores['minutes']} minutes.", "", "| metric | value |", "|---|---|"]
    for group, figures in scores.items():
        if isinstance(figures, dict):
            lines += [f"| {group}: {name} | {_figure(value)} |" for name, value in figures.items() if value is not None]
    if report["worst"]:
        lines += ["", "## Worst results", ""]
        lines += [
            f"- {item['video']}: {item['query']} – true {item.get('truth', 'nowhere')}, predicted {item['predicted']}"
            for item in report["worst"]
        ]
    return "\n".join([*lines, ""])


def _needle_table(needle: dict[str, Any]) -> list[str]:
    columns = zip(needle["minutes"], needle["tokens"], needle["windows"], strict=True)
    heads = [f"{minutes:g} min ({tokens:,} tokens in {windows} windows)" for minutes, tokens, windows in columns]
    rows = [
        f"| {depth:.0%} | " + " | ".join(_figure(column[index]) for column in needle["overlaps"]) + " |"
        for index, depth in enumerate(needle["depths"])
    ]
    return ["IoU of the single event, by length of the video and depth of the event.", "",
            "| depth | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|", *rows]  # fmt: skip


WORD_TABLES = (
    ("recognition", "speech"),
    ("no_speech", "sound without speech"),
    ("search", "searches in"),
    ("answers", "questions"),
    ("screen_text", "text on screen"),
)
"""The tables of the words suite: their keys in the report, and the head of their first column."""


def _word_tables(report: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for title, head in WORD_TABLES:
        rows = report[title]
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        lines += [f"| {head} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        lines += [f"| {key} | " + " | ".join(_figure(row.get(name, "")) for name in names) + " |" for key, row in rows.items()]
        lines.append("")
    lines += ["## Words that were recognised wrongly", ""]
    lines += [f"- {item['recording']}: {item['said'] or '–'} – {item['recognized'] or '–'}" for item in report["mistakes"]]
    lines += ["", "## Questions without a correct result", ""]
    return lines + [f"- {item['video']}: {item['question']}" for item in report["missed"]]


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _axes(width: float, height: float) -> Any:
    # pyplot would keep its figures as long as the process runs.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _bars(report: dict[str, Any], path: Path) -> None:
    """Draw all shares as bars."""
    shares = [
        (f"{group}: {name}", float(value))
        for group, figures in report["scores"].items()
        if isinstance(figures, dict) and group != "seconds_per_minute"
        for name, value in figures.items()
        if isinstance(value, float) and not name.endswith("_s")
    ]
    axes = _axes(8, 0.6 + 0.28 * len(shares))
    lower_is_better = ("false_positive_rate", "duplicate_rate", "hallucination_rate")
    colors = [BAD if name.endswith(lower_is_better) else GOOD for name, _ in shares]
    bars = axes.barh([name for name, _ in shares], [value for _, value in shares], color=colors)
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set(xlim=(0, 1.1), title=report["suite"])
    axes.invert_yaxis()
    axes.figure.savefig(path, format="png", dpi=120)


def _heat_map(report: dict[str, Any], path: Path) -> None:
    """Draw the IoU of the needle by length and depth."""
    needle = report["needle"]
    grid = [[column[index] for column in needle["overlaps"]] for index in range(len(needle["depths"]))]
    axes = _axes(1.5 + 1.1 * len(needle["minutes"]), 1.5 + 0.6 * len(needle["depths"]))
    image = axes.imshow(grid, vmin=0, vmax=1, cmap="RdYlGn", aspect="auto")
    axes.set_xticks(
        range(len(needle["minutes"])),
        [f"{tokens / 1000:.0f}K\n{minutes:g} min" for minutes, tokens in zip(needle["minutes"], needle["tokens"], strict=True)],
    )
    axes.set_yticks(range(len(needle["depths"])), [f"{depth:.0%}" for depth in needle["depths"]])
    axes.set(xlabel="tokens of the whole video", ylabel="depth of the event", title=report["suite"])
    axes.figure.colorbar(image, label="IoU")
    axes.figure.savefig(path, format="png", dpi=120)

"""Render a document as one HTML file: no script, no network, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, assert_never

from reports.charts.drawing import render_svg
from reports.formatting import clean
from reports.layout.document import (
    Block,
    Bullets,
    Chart,
    Charts,
    Document,
    Heading,
    KeyValues,
    Log,
    Paragraph,
    TableBlock,
    Tile,
    Tiles,
)

# The page declares it itself, too, for those who open a saved file.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)

_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 "DejaVu Sans",Verdana,"Segoe UI",sans-serif;color:#1e293b;background:#f1f5f9;margin:0}
main{max-width:860px;margin:0 auto;background:#fff;padding:36px 48px 56px;overflow-wrap:anywhere}
header{border-bottom:3px solid #1d4ed8;margin-bottom:18px;padding-bottom:12px}
h1{font-size:24px;line-height:1.25;margin:0 0 4px}h2{font-size:17px;margin:30px 0 10px;color:#0f172a}
.sub,.muted,figcaption small{color:#64748b}.muted{font-size:13px}
.badge{display:inline-block;border-radius:4px;padding:2px 10px;font-weight:bold;font-size:13px;color:#fff}
.good{background:#15803d}.doubtful{background:#b45309}.bad{background:#b91c1c}
.tiles{display:flex;gap:12px;flex-wrap:wrap;margin:0 0 14px}
.tile{flex:1 1 150px;border:1px solid #e2e8f0;border-radius:6px;padding:10px 14px;background:#f8fafc}
.tile b{display:block;font-size:20px}.tile span{color:#64748b;font-size:12.5px}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:5px 8px;border-bottom:1px solid #e2e8f0;vertical-align:top}
th{background:#f8fafc;border-bottom:2px solid #cbd5e1}td.n,th.n{text-align:right}
tr.strong td{font-weight:bold;background:#eff6ff}
dl{display:grid;grid-template-columns:minmax(130px,230px) 1fr;gap:4px 16px;font-size:13.5px;margin:0}
dl.two{grid-template-columns:minmax(110px,180px) 1fr minmax(110px,180px) 1fr}
dt{color:#64748b}dd{margin:0}
.charts{display:flex;flex-wrap:wrap;gap:18px}figure{margin:0;flex:1 1 340px;max-width:calc(50% - 9px)}
figure.wide{flex-basis:100%;max-width:100%}figcaption{font-weight:bold;font-size:13.5px;margin-bottom:4px}
figcaption small{display:block;font-weight:normal}svg{width:100%;height:auto;font-family:inherit}
ul.marked{list-style:none;padding-left:4px}ul.marked b{display:inline-block;width:1.4em}
pre{background:#f8fafc;border:1px solid #e2e8f0;padding:10px;font-size:12px;white-space:pre-wrap}
@media print{body{background:#fff;font-size:12px}main{padding:0;max-width:none}h2{break-after:avoid}
figure,tr,.tile{break-inside:avoid}}
@media (max-width:640px){main{padding:20px}figure{max-width:100%}
dl.two{grid-template-columns:minmax(110px,180px) 1fr}}
"""
# Charts above this width in points take a whole line.
_WIDE = 300.0


def render_html(document: Document) -> bytes:
    """Return the document as UTF-8."""
    title = escape(clean(document.title))
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>"
    )
    badge = f'<span class="badge {document.tone}">{escape(document.badge)}</span>'
    top = f'<header><h1>{title}</h1><p class="sub">{_text(document.subtitle)} {badge}</p></header>'
    body = "\n".join(_render(block) for block in document.blocks)
    return f"{head}{top}{body}</main></body></html>\n".encode()


def _text(text: str) -> str:
    return escape(clean(text))


def _render(block: Block) -> str:
    match block:
        case Heading():
            markup = f"<h2>{_text(block.text)}</h2>"
        case Paragraph():
            markup = (
                f'<p class="muted">{_text(block.text)}</p>' if block.muted else f"<p>{_text(block.text)}</p>"
            )
        case KeyValues():
            pairs = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in block.rows)
            markup = f"<dl{' class=two' if block.columns == 2 else ''}>{pairs}</dl>"
        case Bullets():
            marks = [f"<b>{_text(mark)}</b>" for mark in block.marks] or [""] * len(block.items)
            items = [f"<li>{mark}{_text(item)}</li>" for mark, item in zip(marks, block.items, strict=True)]
            markup = f"<ul{' class=marked' if block.marks else ''}>{''.join(items)}</ul>"
        case Tiles():
            markup = f'<div class="tiles">{"".join(map(_tile, block.tiles))}</div>'
        case TableBlock():
            markup = _table(block)
        case Charts():
            markup = f'<div class="charts">{"".join(map(_chart, block.charts))}</div>'
        case Log():
            markup = f"<pre>{'&#10;'.join(map(_text, block.lines))}</pre>"
        case _:
            assert_never(block)
    return markup


def _tile(tile: Tile) -> str:
    note = f"<span>{_text(tile.note)}</span>" if tile.note else ""
    return f'<div class="tile"><span>{_text(tile.label)}</span><b>{_text(tile.value)}</b>{note}</div>'


def _table(table: TableBlock) -> str:
    def cells(tag: str, texts: Sequence[str]) -> str:
        classes = ["" if column < table.numbers_from else ' class="n"' for column in range(len(texts))]
        pairs = zip(classes, texts, strict=True)
        return "".join(f"<{tag}{attribute}>{_text(text)}</{tag}>" for attribute, text in pairs)

    rows = [
        f"<tr{' class=strong' if number in table.strong else ''}>{cells('td', row)}</tr>"
        for number, row in enumerate(table.rows)
    ]
    return f"<table><thead><tr>{cells('th', table.header)}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _chart(chart: Chart) -> str:
    note = f"<small>{_text(chart.note)}</small>" if chart.note else ""
    wide = ' class="wide"' if chart.drawing.width > _WIDE else ""
    caption = f"<figcaption>{_text(chart.title)}{note}</figcaption>"
    return f"<figure{wide}>{caption}{render_svg(chart.drawing, chart.title)}</figure>"

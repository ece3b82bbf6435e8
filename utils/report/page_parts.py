"""Shared parts of all pages: templates, tables, figures as SVG, and thumbnails."""

import base64
import io
import re
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from models.errors import UserError
from models.image_file import open_thumbnail
from utils.evaluation.results import cells

PAGES = (".html", ".htm")  # suffixes of a page
STYLE: dict[Any, Any] = {
    "font.size": 12,
    "legend.frameon": False,
    "legend.borderaxespad": 0,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "text.parse_math", "axes.formatter.useoffset"), False),
    **dict.fromkeys(("axes.grid", "axes.axisbelow", "figure.constrained_layout.use"), True),
    "grid.alpha": 0.5,
    "svg.fonttype": "none",  # text stays text
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
LINK = re.compile(r"""<a xlink:href=(["'])(.*?)\1 target="_blank">(.*?)</a>""", re.DOTALL)


def template(name: str) -> jinja2.Template:
    """Returns a template of this folder. It escapes texts; an undefined name is an error."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.globals["written"] = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return environment.get_template(name)


def table(frame: pd.DataFrame, index: bool = False) -> Markup:
    """Converts a table to HTML with escaped texts. Columns without values are left out."""
    shown = cells(frame.dropna(axis=1, how="all"), missing="–")
    if not index:
        shown = shown.rename(columns=lambda name: str(name).replace("_", " "))  # a line break may replace a space
    html = shown.rename_axis(index=None, columns=None).to_html(index=index, border=0, classes="matrix" * index)
    html = re.sub(r"_|[^\W_]{14}(?=[^\W_])", r"\g<0><wbr>", html)  # where a long name may be broken
    return Markup(re.sub(r"<td>(?=[^<]*[A-Za-z])", '<td class="text">', html))


def drawing(caption: str, draw: Callable[..., Figure], *arguments: Any) -> Markup:
    """Converts the figure of `draw(*arguments)` to SVG with a caption.

    matplotlib knows links but no tooltips, so the URL of a point or bar becomes its tooltip.
    """
    file = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": caption}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser's fonts may have it
        draw(*arguments).savefig(file, format="svg", metadata=NO_METADATA)
    svg = LINK.sub(r"<g><title>\2</title>\3</g>", file.getvalue().partition("<svg")[2])
    return figure(caption, Markup('<svg class="drawing" role="img" aria-label="{}"').format(caption) + Markup(svg))


def figure(caption: str, content: Markup) -> Markup:
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(caption, content)


def thumbnail(path: str | Path, longest: int, quality: int) -> str:
    """Returns a thumbnail as a JPEG data URI; empty if the file is not readable.

    Args:
        path: of the image file.
        longest: maximum length of the longer side, in pixels.
        quality: of the JPEG, from 1 to 95.
    """
    try:
        image = open_thumbnail(path, longest)
    except UserError:
        return ""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"

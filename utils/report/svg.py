"""Figures as SVG inside a page: drawn by matplotlib, in the page's font and colour of texts, without a script."""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

TEXT = "#010203"  # stands for the page's colour of texts
GREY = "#808080"
SVG, LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
STYLE: dict[Any, Any] = {
    "font.size": 12,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "legend.borderaxespad": 0,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), TEXT),
    **dict.fromkeys(("xtick.color", "ytick.color", "axes.edgecolor", "grid.color"), GREY),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "text.parse_math", "axes.formatter.useoffset"), False),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor"), "none"),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",  # texts stay texts
}

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", LINK[1:].split("}")[0])


def svg(caption: str, draw: Callable[..., Figure], *arguments: Any) -> Markup:
    """What `draw(*arguments)` draws as an SVG element. `caption` names it for those who do not see it.

    matplotlib has no titles of points. So a point's URL becomes its title, which a browser shows when hovering.
    """
    file = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": caption}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser's fonts may have it
        draw(*arguments).savefig(file, format="svg")
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", file.getvalue())  # in the page's font
    root = ElementTree.fromstring(text.replace(TEXT, "currentColor"))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "style")):  # this style would be one of the whole page
                parent.remove(child)
    used = set(re.findall(r"#(\w+)", text))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
    for point in root.iter(f"{{{SVG}}}a"):
        point.tag = f"{{{SVG}}}g"
        ElementTree.SubElement(point, f"{{{SVG}}}title").text = point.attrib.pop(LINK)
        for use in point.iter(f"{{{SVG}}}use"):
            use.attrib |= {place: f"{float(use.attrib[place]):.1f}" for place in ("x", "y")}
    for name in ("width", "height", "version"):
        del root.attrib[name]  # the view box is left: it fits its card
    root.attrib |= {"role": "img", "aria-label": caption, "class": "drawing"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))

"""What all pages share: templates, the time of writing, and pictures inside the page."""

import base64
import io
from datetime import datetime
from pathlib import Path

import jinja2

from models.errors import UserError
from models.image_file import open_thumbnail

PAGES = (".html", ".htm")  # suffixes of a page


def templates() -> jinja2.Environment:
    """The templates of this folder: texts are escaped, and a name that nothing gives is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )


def now() -> str:
    """The time of writing, for people."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")


def thumbnail(path: str | Path, longest: int, quality: int) -> str:
    """A data URI of an image, empty if its file is not readable.

    Args:
        path: of the image file.
        longest: longer side in pixels, at most.
        quality: of the JPEG, from 1 to 95.
    """
    try:
        image = open_thumbnail(path, longest)
    except UserError:
        return ""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return data_uri(file.getvalue(), "jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """A picture of a kind (jpeg, png) as the address that a page shows it from."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

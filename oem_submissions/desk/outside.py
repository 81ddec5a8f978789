"""The pages that strangers see: why not, and where to go. They show nothing of the desk."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from jinja2 import Template
from starlette.responses import HTMLResponse

from oem_submissions.desk.rendering import make_environment

_HEADINGS = {200: "Sign in", 401: "Sign in first", 403: "This is not allowed", 413: "Too much", 503: "Not now"}


def outside_page(
    status: int,
    text: str,
    heading: str | None = None,
    link: tuple[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A page with one sentence, and a link (address, text) or the sign-out form on it. Texts are escaped."""
    heading = heading or _HEADINGS.get(status, "This can’t be shown")
    page = _template().render(heading=heading, text=text, link=link, form=form)
    body = page.encode("utf-8", "backslashreplace")
    return HTMLResponse(body, status, {"Cache-Control": "no-store", **(headers or {})})


@cache
def _template() -> Template:
    return make_environment().get_template("outside.html.j2")

"""Pictures and texts of pages: lossless, full page, without secrets. A picture that may show one is not taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from playwright.sync_api import ElementHandle, FloatRect, Frame, Page
from playwright.sync_api import Error as PlaywrightError

from oem_submissions.domain.evidence import PICTURE_HEIGHT, Artifact, is_blank
from oem_submissions.domain.needles import Needles
from oem_submissions.portal import veil
from oem_submissions.portal.locators import is_leaving
from oem_submissions.portal.scrubbing import Scrubber
from oem_submissions.portal.standing import pixels

WEBP = "image/webp"
TEXT_LIMIT = 64 * 1024
"""Bytes of a page's visible text that are kept."""
PAGE_LIMIT = 1_000_000
"""Characters of a frame's visible text that are read: a page that holds more is no form and no confirmation."""
FRAMES = 100
"""Frames of a page that are read."""
PICTURE_SECONDS = 30.0
"""For a picture: a page of 16,000 pixels takes some."""
TRIES = 2
"""Times that a page is photographed until what is to be masked stands still."""
_ELEMENTS = 300_000
"""Elements that are looked through for shadow roots, whose text the body's `innerText` lacks."""
_TEXT = """([characters, elements]) => {
  if (!document.body) return ["", true];
  let text = document.body.innerText, looked = 0;
  const roots = [document.body], seen = {visibilityProperty: true};
  while (roots.length) {
    const walker = document.createTreeWalker(roots.pop(), NodeFilter.SHOW_ELEMENT);
    for (let element = walker.nextNode(); element; element = walker.nextNode()) {
      if (++looked > elements || text.length > characters) return [text.slice(0, characters), false];
      if (!element.shadowRoot || !element.checkVisibility(seen)) continue;
      roots.push(element.shadowRoot);
      for (const inside of element.shadowRoot.childNodes) {
        if (inside.nodeType === Node.TEXT_NODE) text += "\\n" + inside.data;
        else if (inside.innerText && inside.checkVisibility(seen)) text += "\\n" + inside.innerText;
      }
    }
  }
  return [text.slice(0, characters), text.length <= characters];
}"""
_MASK = (255, 0, 255)
_MARK = "data-oem-submissions-secret"
_STYLE = f"[{_MARK}] {{ visibility: hidden !important }} {veil.STYLE}"
_MARK_SECRETS = f"""(shown) => {{
  const silent = ["button", "submit", "reset", "image", "hidden", "checkbox", "radio", "file"];
  const secret = [...document.querySelectorAll("input, textarea, select")].filter(element =>
    !silent.includes(element.type) && element.value !== "" && !shown.includes(element)
    && element.checkVisibility({{visibilityProperty: true}}));
  for (const element of secret) element.setAttribute("{_MARK}", "");
  return secret.length;
}}"""
_MEASURE = """() => {
  const {scrollWidth, scrollHeight} = document.documentElement;
  return [scrollWidth, scrollHeight, scrollX, scrollY];
}"""
_VALUES = "controls => controls.map(control => String(control.value ?? ''))"
_UNMARK = f"() => document.querySelectorAll('[{_MARK}]').forEach(element => element.removeAttribute('{_MARK}'))"


class CaptureFailed(Exception):
    """The picture could not be taken, or may show a secret: one sentence."""


def picture(
    page: Page,
    name: str,
    shown: dict[Frame, list[ElementHandle]] | None = None,
    scrubber: Scrubber | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Artifact:
    """A lossless picture of the whole page, of a higher one its first 16,000 pixels.

    Every filled control that is not among `shown` is hidden *and* masked.

    What the scrubber knows stands nowhere in it: in texts there are blocks instead, a shown control that holds it is
    masked. `meanwhile` sees the page as the picture does: blocks may be wider than what they hide, and move the rest.
    It is called before each try: a page may move just as it is photographed for the first time. (Chromium gives a text
    area another height then, with some fonts.) Raises `CaptureFailed` when one of them may show, or when the picture is
    blank.
    """
    scrubber = scrubber or Scrubber(Needles())
    frames = [frame for frame in page.frames if not frame.is_detached()]
    try:
        with veil.veiled(frames, scrubber):
            for _ in range(TRIES):
                if meanwhile is not None:
                    meanwhile()
                data, boxes = _photograph(page, frames, _harmless(shown or {}, scrubber))
                if _is_masked(data, boxes):
                    break
            else:
                raise CaptureFailed("A secret on the page could not be masked, so no picture was kept.")
    except veil.Unveiled as error:
        raise CaptureFailed(f"{error}, so no picture was kept.") from error
    check_picture(data)
    return Artifact(name, WEBP, data, datetime.now(UTC))


def _harmless(shown: dict[Frame, list[ElementHandle]], scrubber: Scrubber) -> dict[Frame, list[ElementHandle]]:
    """The controls that may be shown and hold nothing that may not."""
    held = {frame: frame.evaluate(_VALUES, handles) if handles else [] for frame, handles in shown.items()}
    return {
        frame: [handle for handle, value in zip(handles, held[frame], strict=True) if not scrubber.spans(value)]
        for frame, handles in shown.items()
    }


def _photograph(
    page: Page, frames: list[Frame], shown: dict[Frame, list[ElementHandle]]
) -> tuple[bytes, list[tuple[float, float]]]:
    """The picture, and the middles of what is masked in it."""
    try:
        secrets = sum(frame.evaluate(_MARK_SECRETS, shown.get(frame, [])) for frame in frames)
        marked = [handle for frame in frames for handle in frame.query_selector_all(f"[{_MARK}]")] if secrets else []
        if len(marked) != secrets:
            raise CaptureFailed("The page changed while its secrets were being hidden, so no picture was kept.")
        width, height, *scroll = page.evaluate(_MEASURE)
        boxes = [_place(handle, *scroll) for handle in marked]
        masks = [frame.locator(f"[{_MARK}]") for frame in frames] if secrets else []
        data = page.screenshot(
            type="webp",
            full_page=True,
            clip=_too_high(width, height),
            timeout=PICTURE_SECONDS * 1000,
            animations="disabled",
            caret="hide",
            style=_STYLE,
            mask=masks,
            mask_color="#FF00FF",
        )
    finally:
        for frame in frames:
            if not frame.is_detached():
                frame.evaluate(_UNMARK)
    return data, boxes


def _too_high(width: float, height: float) -> FloatRect | None:
    """What of a page is photographed that is too high for a picture; None when all of it is."""
    if height <= PICTURE_HEIGHT:
        return None
    return {"x": 0, "y": 0, "width": min(width, PICTURE_HEIGHT), "height": PICTURE_HEIGHT}


def _place(handle: ElementHandle, across: float, down: float) -> tuple[float, float]:
    """The element's middle, in pixels of the full-page picture."""
    box = handle.bounding_box()
    if box is None:
        raise CaptureFailed("A secret on the page has no place that could be masked, so no picture was kept.")
    return (box["x"] + box["width"] / 2 + across, box["y"] + box["height"] / 2 + down)


def _is_masked(data: bytes, middles: list[tuple[float, float]]) -> bool:
    """Every secret's middle must be under the mask's colour: a mask that matches nothing is ignored in silence."""
    if not middles:
        return True
    image = pixels(data)
    inside = [(int(x), int(y)) for x, y in middles if 0 <= x < image.width and 0 <= y < image.height]
    return len(inside) == len(middles) and all(image.getpixel(place) == _MASK for place in inside)


def check_picture(data: bytes) -> None:
    """Raises `CaptureFailed` unless it is a lossless WebP (RIFF chunk `VP8L`) that shows more than one shade."""
    if b"VP8L" not in _chunks(data):
        raise CaptureFailed("The picture is not lossless WebP.")
    if is_blank(pixels(data).convert("L").histogram()):  # the rule that sealing and verifying go by
        raise CaptureFailed("The picture is blank.")


def _chunks(data: bytes) -> set[bytes]:
    """The kinds of chunks of a WebP file (RFC 9649): `VP8L` is lossless image data, `VP8 ` lossy."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return set()
    kinds, at = set(), 12
    while at + 8 <= len(data):
        kinds.add(data[at : at + 4])
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return kinds


def visible_text(page: Page) -> str:
    """The visible text of the page and its frames, at most 64 kB of UTF-8; never what stands in a form's controls."""
    texts = [frame_text(frame)[0] for frame in page.frames[:FRAMES] if not frame.is_detached()]
    return limit("\n".join(text for text in texts if text))


def frame_text(frame: Frame) -> tuple[str, bool]:
    """The visible text of one frame and whether that is all of it; nothing while it is being replaced by another."""
    try:
        text, whole = frame.evaluate(_TEXT, [PAGE_LIMIT, _ELEMENTS])
    except PlaywrightError as error:
        if is_leaving(error):
            return "", True
        raise
    return str(text), bool(whole)


def whole_text(scope: Frame) -> tuple[str, bool]:
    """The visible text of a frame and of the frames that show in it, and whether that is all of it."""
    text, whole = frame_text(scope)
    texts, waiting, read = [text], list(scope.child_frames), 1
    while waiting and whole:
        frame = waiting.pop(0)
        if not _shows(frame):
            continue
        read += 1
        text, whole = frame_text(frame)
        texts.append(text)
        waiting += frame.child_frames
        whole = whole and read <= FRAMES
    return "\n".join(texts), whole


def _shows(frame: Frame) -> bool:
    try:
        return not frame.is_detached() and frame.frame_element().is_visible()
    except PlaywrightError as error:
        if is_leaving(error):
            return False
        raise


def limit(text: str, size: int = TEXT_LIMIT) -> str:
    """The text, cut to `size` bytes of UTF-8."""
    return text.encode(errors="replace")[:size].decode(errors="ignore")


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return re.sub(r"\s+", " ", text).strip()


def filled_in(template: str, values: Mapping[str, str]) -> str:
    """The pack's template with `{name}` replaced by its value; nothing else in it means anything."""
    return re.sub(r"\{([a-z_]+)\}", lambda name: values.get(name[1], ""), template)

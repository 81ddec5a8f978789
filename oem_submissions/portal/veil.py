"""Hides what a page says of secrets and personal values while it is photographed: in texts, captions, shadow trees.

The values never enter the page, whose scripts may read along: its texts come out, are searched here, and only the
places go back in. Blocks as long as the text stand there meanwhile, so that what stands beside stays where it is and
stays readable: hiding the whole element would hide the reference of every page that says "Thank you, Pat O'Doe. Your
claim number is …". Controls that are filled in are `capture`'s.

Pictures can't be read: one whose address or data holds a value is hidden whole. A closed shadow tree and a canvas can't
be searched at all.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Frame, JSHandle

from oem_submissions.domain.needles import looks_like_token
from oem_submissions.portal.scrubbing import Scrubber

BLOCK = "█"
_MOST_TEXT = 4_000_000
"""Characters of a frame that are searched; a page with more is not photographed."""

_COLLECT = """() => {
  const found = {texts: [], attributes: [], generated: [], pictures: [], hidden: [], changed: []};
  const silent = ["SCRIPT", "STYLE", "NOSCRIPT", "TEXTAREA", "TITLE"];
  const buttons = ["button", "submit", "reset"];
  const look = root => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.nodeType === 3) {
        if (node.data.trim() && !silent.includes(node.parentNode.nodeName)) found.texts.push(node);
        continue;
      }
      for (const name of ["placeholder", "alt", "title", "label"])
        if (node.hasAttribute(name)) found.attributes.push([node, name]);
      if (node.nodeName === "INPUT" && buttons.includes(node.type)) found.attributes.push([node, "value"]);
      if (node.nodeName === "INPUT" && node.type === "hidden" && node.value) found.hidden.push(node.value);
      for (const part of ["::before", "::after"]) {
        const content = getComputedStyle(node, part).content;
        if (["none", "normal", '""'].includes(content)) continue;
        const drawn = content.includes("attr(") ? [...node.attributes].map(each => each.value) : [];
        found.generated.push([node, [content, ...drawn].join(" ")]);
      }
      for (const name of ["src", "srcset", "poster", "data", "href", "xlink:href", "style"]) {
        const address = node.nodeName === "A" ? null : node.getAttribute(name);
        if (address && address.length < 500000) found.pictures.push([node, address]);
      }
      if (node.shadowRoot) look(node.shadowRoot);
    }
  };
  look(document);
  return found;
}"""
_READ = """found => ({
  texts: found.texts.map(node => node.data),
  attributes: found.attributes.map(([node, name]) => node.getAttribute(name)),
  generated: found.generated.map(([, content]) => content),
  pictures: found.pictures.map(([, address]) => address),
  hidden: found.hidden,
})"""
_COLLECT_AND_READ = f"() => ({_READ})(({_COLLECT})())"
MARK = "data-oem-submissions-veiled"
STYLE = (
    f"[{MARK}=generated]::before, [{MARK}=generated]::after, [{MARK}=picture], [{MARK}=picture] *"
    " { visibility: hidden !important }"
)
_HIDE = f"""(found, todo) => {{
  for (const [at, text] of todo.texts) {{
    const node = found.texts[at];
    found.changed.push([node, node.data, text]);
    node.data = text;
  }}
  for (const [at, text] of todo.attributes) {{
    const [node, name] = found.attributes[at];
    found.changed.push([node, node.getAttribute(name), text, name]);
    node.setAttribute(name, text);
  }}
  for (const at of todo.generated) found.generated[at][0].setAttribute("{MARK}", "generated");
  for (const at of todo.pictures) found.pictures[at][0].setAttribute("{MARK}", "picture");
}}"""
_SHOW = f"""found => {{
  for (const [node, before, after, name] of found.changed) {{
    if (name) {{ if (node.getAttribute(name) === after) node.setAttribute(name, before); }}
    else if (node.data === after) node.data = before;
  }}
  for (const [node] of [...found.generated, ...found.pictures]) node.removeAttribute("{MARK}");
}}"""


class Unveiled(Exception):
    """A value shows, or may show, though it was to be hidden: one sentence."""


@contextmanager
def veiled(frames: Sequence[Frame], scrubber: Scrubber) -> Iterator[None]:
    """While it lasts, the pages' texts hold no needle. Raises `Unveiled`; at its end, when one came back."""
    handles: list[JSHandle] = []
    try:
        for frame in frames:
            handles.append(frame.evaluate_handle(_COLLECT))
            _hide(handles[-1], scrubber)
        yield
        for frame in frames:
            if any(_todo(_checked(frame.evaluate(_COLLECT_AND_READ)), scrubber, again=True).values()):
                raise Unveiled("The page showed a secret or a personal value again while it was being photographed")
    finally:
        for handle in handles:
            _show(handle)


def _hide(handle: JSHandle, scrubber: Scrubber) -> None:
    found = _read(handle)
    scrubber.learn("a token of the page", filter(looks_like_token, found["hidden"]))
    todo = _todo(found, scrubber)
    if any(todo.values()):
        handle.evaluate(_HIDE, todo)


def _read(handle: JSHandle) -> dict[str, Any]:
    return _checked(handle.evaluate(_READ))


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    if sum(map(len, itertools.chain(found["texts"], found["attributes"]))) > _MOST_TEXT:
        raise Unveiled("The page holds more text than can be searched")
    return found


def _show(handle: JSHandle) -> None:
    try:
        handle.evaluate(_SHOW)
        handle.dispose()
    except PlaywrightError:  # the frame is gone, and with it what was hidden
        pass


def _todo(found: dict[str, Any], scrubber: Scrubber, *, again: bool = False) -> dict[str, list[Any]]:
    """What is to be replaced by what, by its number. `again`: what is hidden by style stays there."""

    def hidden(what: str) -> list[int]:
        return [] if again else [at for at, text in enumerate(found[what]) if scrubber.spans(text)]

    return {
        "texts": _blocked(found["texts"], scrubber),
        "attributes": [(at, text) for at, old in enumerate(found["attributes"]) if (text := _block(old, scrubber))],
        "generated": hidden("generated"),
        "pictures": hidden("pictures"),
    }


def _block(text: str, scrubber: Scrubber) -> str | None:
    spans = [(start, end) for start, end, _ in scrubber.spans(text)]
    return _with_blocks(text, spans) if spans else None


def _blocked(texts: Sequence[str], scrubber: Scrubber) -> list[tuple[int, str]]:
    """The texts that change. A value may go on in the next text (`Pat <b>O'Doe</b>`) or cell: both are looked at."""
    hits: dict[int, list[tuple[int, int]]] = {}
    for joint in ("", "\n"):
        starts = list(itertools.accumulate((len(text) + len(joint) for text in texts), initial=0))
        for start, end, _ in scrubber.spans(joint.join(texts)):
            at = bisect.bisect_right(starts, start) - 1
            while at < len(texts) and starts[at] < end:
                hits.setdefault(at, []).append((max(0, start - starts[at]), min(len(texts[at]), end - starts[at])))
                at += 1
    return [(at, _with_blocks(texts[at], spans)) for at, spans in sorted(hits.items())]


def _with_blocks(text: str, spans: Sequence[tuple[int, int]]) -> str:
    characters = list(text)
    for start, end in spans:
        for at in range(start, end):
            if not characters[at].isspace():
                characters[at] = BLOCK
    return "".join(characters)

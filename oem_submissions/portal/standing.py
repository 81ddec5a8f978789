"""Where a text's characters stand on the page, and whether a person sees them there: on the page, and in its picture.

What a page's text says and what it shows are two things: text may be transparent, tiny, off the page or behind
something, turned round by its direction, or go on in what a style sheet adds. What the text means is not known here.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from PIL import Image
from playwright.sync_api import ElementHandle

MOST = 2048
"""Characters around an element that are looked at."""
LEAST_HEIGHT, LEAST_WIDTH = 6.0, 1.0
"""Pixels of a character that a person can read."""
GAP = 0.3
"""Of a character's height that the next one may be away, or overlap it, and still belong to the same word."""
SPACE = 0.1
"""The same where white space stands between them: a person sees it, unless a style makes it too small."""
CONTRAST = 24
"""Levels of grey, of 256, between a character and what it stands on."""
SCROLL = "() => [scrollX, scrollY]"
_READ = """(element, most) => {
  const root = (() => {
    let root = element;
    while (root.parentElement && /^(inline|contents)/.test(getComputedStyle(root).display)) root = root.parentElement;
    return root;
  })();
  const here = element.getBoundingClientRect(), range = document.createRange(), characters = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const seen = {opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true};
  let read = 0, whole = true, spaced = false;
  for (let node = walker.nextNode(); node && whole; node = walker.nextNode()) {
    const parent = node.parentElement;
    read += node.data.length;
    if (read > most) { whole = false; break; }
    if (!parent.checkVisibility(seen)) continue;
    if (getComputedStyle(parent).webkitTextSecurity !== "none") continue;
    const inside = element.contains(node);
    for (let at = 0; at < node.data.length;) {
      const character = String.fromCodePoint(node.data.codePointAt(at));
      range.setStart(node, at);
      range.setEnd(node, at += character.length);
      if (/\\s/.test(character)) { spaced = true; continue; }
      const box = range.getBoundingClientRect();
      characters.push([character, inside, box.x - here.x, box.y - here.y, box.width, box.height, spaced]);
      spaced = false;
    }
  }
  const added = [root, ...root.querySelectorAll("*")].slice(0, most).some(each => ["::before", "::after"].some(part => {
    const {content, display} = getComputedStyle(each, part);
    return display !== "none" && /[\\p{L}\\p{N}]/u.test(content.replace(/^(none|normal)$|url\\([^)]*\\)/g, ""));
  }));
  const scroll = window === window.top ? [scrollX, scrollY] : null;
  return {text: (element.innerText || "").slice(0, most + 1), characters, whole, added, scroll};
}"""


@dataclass(frozen=True)
class Character:
    """One character that is not white space, and its box in pixels of the full-page picture."""

    text: str
    inside: bool
    """Whether it is the element's; else it stands in the same block."""
    x: float
    y: float
    width: float
    height: float
    spaced: bool = False
    """Whether white space stands before it."""


@dataclass(frozen=True)
class Standing:
    """An element's text as it stands on the page."""

    text: str
    """As a reader would copy it; one character more than `MOST` when it is longer."""
    characters: tuple[Character, ...] = ()
    """Of the element and of what stands in a line with it."""
    whole: bool = True
    """Whether these are all."""
    added: bool = False
    """Whether a style sheet adds letters or digits to it, which no text holds."""


def standing(element: ElementHandle) -> Standing:
    """What the element's text looks like now."""
    read: dict[str, Any] = element.evaluate(_READ, MOST)
    box = element.bounding_box()
    frame = element.owner_frame() if read["scroll"] is None else None
    if box is None or (frame is None and read["scroll"] is None):
        return Standing(read["text"])
    across, down = frame.page.evaluate(SCROLL) if frame else read["scroll"]
    left, top = box["x"] + across, box["y"] + down
    characters = tuple(
        Character(text, inside, left + x, top + y, width, height, spaced)
        for text, inside, x, y, width, height, spaced in read["characters"]
    )
    return Standing(read["text"], characters, read["whole"], read["added"])


def written(word: str, standing: Standing) -> tuple[Character, ...] | None:
    """The characters that show the word in the order of reading, as a word of its own. None when none do. Pure.

    Capitals don't count: a style may change them.
    """
    if not standing.whole or standing.added:
        return None
    spelled = [(letter, character) for character in standing.characters for letter in _letters(character.text)]
    text, wanted = "".join(letter for letter, _ in spelled), "".join(_letters("".join(word.split())))
    starts = [at for at in range(len(text)) if text.startswith(wanted, at)] if wanted else []
    for start in starts:
        end = start + len(wanted)
        found = [character for _, character in spelled[start:end]]
        around = [character for _, character in (*spelled[:start][-1:], *spelled[end : end + 1])]
        if _reads_as_one(found) and not any(_belongs(character, found) for character in around):
            return tuple(found)
    return None


def _letters(text: str) -> str:
    return unicodedata.normalize("NFKC", text).upper()


def _reads_as_one(found: Sequence[Character]) -> bool:
    readable = all(character.inside and _readable(character) for character in found)
    return readable and all(one is other or _goes_on(one, other) for one, other in pairwise(found))


def _belongs(character: Character, word: Sequence[Character]) -> bool:
    """Whether a reader would take it for a part of the word."""
    before, after = (SPACE if second.spaced else GAP for second in (word[0], character))
    return character.text.isalnum() and (_touches(character, word[0], before) or _touches(word[-1], character, after))


def _readable(character: Character) -> bool:
    on_page = character.x >= 0 and character.y >= 0
    return on_page and character.height >= LEAST_HEIGHT and character.width >= LEAST_WIDTH


def _goes_on(one: Character, other: Character) -> bool:
    """Whether the other is read right after the one: beside it, or where the next line begins."""
    if other.y >= one.y + 0.5 * one.height:
        return other.x <= one.x
    return _touches(one, other)


def _touches(one: Character, other: Character, most: float = GAP) -> bool:
    same_line = abs(one.y + one.height / 2 - other.y - other.height / 2) < 0.5 * min(one.height, other.height)
    gap = other.x - (one.x + one.width)
    return same_line and abs(gap) <= most * max(one.height, other.height) and other.x > one.x


@lru_cache(maxsize=1)
def pixels(picture: bytes) -> Image.Image:
    """The picture in colour. The last one is kept: what is asked of one is asked at once, and decoding costs most."""
    return Image.open(io.BytesIO(picture)).convert("RGB")


def inked(characters: Sequence[Character], picture: bytes) -> bool:
    """Whether the full-page picture shows something at the place of every character. Pure."""
    image = pixels(picture)
    return all(_has_ink(image, character) for character in characters)


def _has_ink(image: Image.Image, character: Character) -> bool:
    edge = min(1.0, character.width / 6)  # its neighbours may reach a little into its box
    box = (
        round(character.x + edge),
        round(character.y),
        max(round(character.x + edge) + 1, round(character.x + character.width - edge)),
        round(character.y + character.height),
    )
    if min(box) < 0 or box[2] > image.width or box[3] > image.height or box[3] <= box[1]:
        return False
    levels = image.crop(box).convert("L").tobytes()
    return max(levels) - min(levels) >= CONTRAST

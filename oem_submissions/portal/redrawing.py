"""Recorded pages drawn anew with nothing in them but tags and the words of the pack: golden pages, and templates.

A golden page is for `goldens`; a template is for a simulated portal that looks to the pack as the recorded one does.
Whatever the pack does not say is blocks; what its contract says with `#` for a number has zeros. A page's own braces
are written as entities, so that no page can put an expression into a template.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Frame

from oem_submissions.portal import aria
from oem_submissions.portal.recognition import Recognised
from oem_submissions.portal.recording import PATH, ClosedPage, PageKind, RecordedPage

_REDRAW = """([keep, lines, css, scope, marks]) => {
  const kept = new Set(["type", "role", "required", "readonly", "disabled", "multiple", "maxlength", "rows", "cols",
                        "colspan", "rowspan", "scope", "aria-labelledby", "aria-required", "aria-level",
                        "aria-current"]);
  const speaking = new Set(["placeholder", "title", "aria-label", "value"]);
  const form = scope && document.querySelector(scope);
  const marked = new Map(marks.map(([selector, mark]) => [document.querySelector(selector), mark]));
  const quoted = keep.filter(Boolean).sort((a, b) => b.length - a.length)
    .map(text => text.replace(/[.*+?^${}()|[\\]\\\\]/g, "\\\\$&").replace(/\\s+/g, "\\\\s+"));
  const alone = quoted.length ? `(?<![\\\\p{L}\\\\p{N}])(${quoted.join("|")})(?![\\\\p{L}\\\\p{N}])` : "(?!)()";
  const words = new RegExp(alone, "gu");
  const escaped = text =>  // without what does not show
    text.replace(/[\\p{Cf}\\p{Co}]/gu, "").replace(/[&<>"'{}]/g, one => `&#${one.charCodeAt(0)};`);
  const blocks = text => text.replace(/[\\p{L}\\p{N}]/gu, "█");
  const whole = new Set(keep);
  const said = (text, inside) => {
    const plain = text.replace(/\\s+/g, " ").trim(), hashed = plain.replace(/\\S*\\p{N}\\S*/gu, "#");
    if (whole.has(plain)) return escaped(text);
    if (inside && plain && lines.some(line => line.includes(hashed))) return escaped(text.replace(/\\p{N}/gu, "0"));
    return escaped(text.split(words).map((piece, at) => at % 2 ? piece : blocks(piece)).join(""));
  };
  const drawn = (node, inside) => {
    if (node.nodeType === Node.TEXT_NODE) return said(node.data, inside);
    if (node.nodeType !== Node.ELEMENT_NODE) return "";
    const name = node.tagName.toLowerCase(), mark = marked.get(node) || {};
    inside = inside || node === form;
    const attributes = [...node.attributes].flatMap(({name: key, value}) => {
      if (mark.attributes && key in mark.attributes) return [];
      if (kept.has(key)) return [[key, escaped(value)]];
      if (key === "style") return [[key, "display: none"]];
      if (key === "value" && name === "button") return css.includes(`"${value}"`) ? [[key, escaped(value)]] : [];
      if (["id", "for", "name", "form", "data-testid"].includes(key))
        return inside || css.includes(value) ? [[key, escaped(value)]] : [];
      if (key === "class") {
        const named = value.split(/\\s+/).filter(one => one && css.includes(`.${one}`));
        return named.length ? [[key, escaped(named.join(" "))]] : [];
      }
      if (key === "href") return [[key, "#"]];
      if (["method", "enctype"].includes(key)) return [[key, escaped(value)]];
      return speaking.has(key) && !(key === "value" && node.type === "radio") ? [[key, said(value, inside)]] : [];
    });
    attributes.push(...Object.entries(mark.attributes || {}));
    const tag = `<${name}${attributes.map(([key, value]) => ` ${key}="${value}"`).join("")}${mark.more || ""}>`;
    const children = () => [...node.childNodes].map(child => drawn(child, inside)).join("");
    const empty = ["input", "br", "hr", "wbr", "col"].includes(name);
    const all = empty ? tag : `${tag}${mark.top || ""}${"inner" in mark ? mark.inner : children()}</${name}>`;
    return `${mark.before || ""}${all}${mark.after || ""}`;
  };
  return [...document.body.childNodes].map(child => drawn(child, false)).join("");
}"""
_RELATED = """([selector, what]) => {
  const element = document.querySelector(selector);
  if (what === "label") return element.labels && element.labels.length ? element.labels[0] : null;
  const row = element.closest("tr");
  if (row) return row;
  return what === "row begins" && element.tagName === "DD" ? element.previousElementSibling : element;
}"""
_HEAD = '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{}</title></head>\n<body>\n{}\n</body></html>\n'  # noqa: E501


_VALUE = 'values.get(portal.boxes["{0}"].name, "")'
"""In a template, what was put into a field."""


class Ink:
    """Stands in a page for what is put into it afterwards: private characters, which a page can't have."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def of(self, text: str) -> str:
        """What to draw in its place."""
        self._texts.append(text)
        return f"\ue000{len(self._texts) - 1}\ue001"

    def dry(self, page: str) -> str:
        """The page with everything in its place."""
        return re.sub("\ue000(\\d+)\ue001", lambda found: self._texts[int(found[1])], page)


def words_of(known: Recognised) -> set[str]:
    """What the pack says: these words, and no others, may stand on a page that is written."""
    said = {text for value in known.said.values() for text in _spoken(value)}
    said |= {*known.words, *known.labels.values()}
    said |= {option for options in known.options.values() for option in options}
    contracts = [step.contract for step in known.steps if step.contract is not None]
    said |= {control.label for contract in contracts for control in contract.controls if control.label}
    return {text for text in said if text}


def _spoken(value: Any) -> Iterator[str]:
    match value:
        case {"css": _}:
            return
        case str():
            yield value
        case dict():
            for key, inner in value.items():
                if key not in ("role", "because", "testid"):
                    yield from _spoken(inner)


def golden(page: RecordedPage, known: Recognised, closed: ClosedPage, title: str, reference: str | None = None) -> str:
    """The page as a golden page: the pack's words and the reference, and blocks for everything else."""
    return _document(page, known, closed, title, reference, [], Ink())


# --- templates of a simulated portal ---


def templates(
    pages: Mapping[PageKind, RecordedPage], further: Sequence[RecordedPage], known: Recognised, closed: ClosedPage,
    title: str, claim_type: str, choices: Mapping[str, Mapping[str, str]], reference: str | None,
) -> dict[str, str]:  # fmt: skip
    """By file name, what `simulator.plain` shows instead of its own pages; only what was recorded and recognised.

    `choices` are texts of options by field and by the claim's value.
    """
    made = {}
    form = ("forms", claim_type)
    links = {
        "/home": (*form, "history", "listing", "open", 0, "click"),
        "/claims/new": (*form, "open", 0, "click"),
        "/claims/list": (*form, "history", "open", 0, "click"),
        "/logout": ("login", "sign_out"),
    }
    names = {said["name"]: path for path, place in links.items() if (said := known.said.get(place))}
    drawing = _Drawing(known, closed, title, names)
    if "login" in known.css:
        made["login.html"] = drawing.login(pages["login"])
    if known.steps and all(step.scope and step.button for step in known.steps):
        box = known.said.get((*form, "refusals", 0, "box"))
        for at, page in enumerate((pages["form"], *further)):
            made["form.html" if at == 0 else f"form_{at + 1}.html"] = drawing.form(page, at, box, choices)
    if "reference" in known.css and reference:
        made["done.html"] = drawing.done(pages["confirmation"], reference)
    return made


@dataclass
class _Drawing:
    """What is the same for every template."""

    known: Recognised
    closed: ClosedPage
    title: str
    links: Mapping[str, str]
    """By their names, where links lead in a plain portal."""

    def _drawn(
        self, page: RecordedPage, marks: list[tuple[str, Mapping[str, Any]]], ink: Ink, scope: str, reference: str = ""
    ) -> str:
        frame = self.closed.show(page.html)
        for handle in frame.query_selector_all("a[href]"):
            if (path := self.links.get(" ".join((handle.text_content() or "").split()))) is not None:
                where = ink.of(f"{{{{ portal.at('{path}') }}}}")
                marks.append((str(handle.evaluate(PATH)), {"attributes": {"href": where}}))
        return _document(page, self.known, self.closed, self.title, reference or None, marks, ink, scope)

    def login(self, page: RecordedPage) -> str:
        """Sends name and password to where `PlainPortal.login_names` says."""
        ink, scope = Ink(), self.known.css["login"]
        mark = {
            "attributes": {"action": ink.of("{{ portal.at('/login') }}"), "method": "post"},
            "before": ink.of("{% if said %}<p>{{ said }}</p>{% endif %}"),
        }
        return self._drawn(page, [(scope, mark)], ink, scope)

    def form(
        self, page: RecordedPage, at: int, box: Mapping[str, Any] | None, choices: Mapping[str, Mapping[str, str]]
    ) -> str:
        """One page of the empty form, with every fault of a plain form."""
        ink, known, step = Ink(), self.known, self.known.steps[at]
        frame = self.closed.show(page.html)
        fields = [name for name in step.fields if name in known.controls]
        marks: list[tuple[str, Mapping[str, Any]]] = []
        for name in fields:
            marks += self._control(name, frame, ink, choices.get(name, {}))
        texts = [name for name in fields if name not in known.options]
        if texts and (label := _related(frame, known.controls[texts[0]], "label")):
            renamed = f'{{{{ "Another label" if "renamed_label" in faults else portal.boxes["{texts[0]}"].label }}}}'
            marks.append((label, {"inner": ink.of(renamed)}))
        marks += self._shown(at, ink)
        begins, ends, moved = ink.of("{% if 'moved_button' not in faults %}"), ink.of("{% endif %}"), ink.of("")
        marks.append((step.button, {"before": begins, "after": ends}))
        style = f'class="{box["css"][1:]}"' if box else 'role="alert"'
        attributes = {"name": "claim"}
        if step.contract is not None and step.contract.action is not None:
            goes = "/claims" if at == len(known.steps) - 1 else f"/claims/step/{at + 1}"
            attributes["action"] = ink.of(f"{{{{ portal.at('{goes}') }}}}{{{{ '/v2' if 'changed_action' in faults }}}}")
        first = f'portal.boxes["{texts[0]}"].name' if texts else '""'
        marks.append((step.scope, {
            "attributes": attributes,
            "before": ink.of(f'{{% if errors %}}<div {style}>{{{{ errors|join(" ") }}}}</div>{{% endif %}}'),
            "top": ink.of("{{ faulty.inside(faults) }}") + moved,
            "after": ink.of(f'{{{{ faulty.after(faults, "claim", {first}) }}}}'),
        }))  # fmt: skip
        text = self._drawn(page, marks, ink, step.scope)
        button = re.search(r"(?s){% if 'moved_button' not in faults %}(.*?){% endif %}", text)
        assert button is not None
        again = "{% if 'moved_button' in faults %}" + button[1] + "{% endif %}"
        text = text.replace("{{ faulty.inside(faults) }}", "{{ faulty.inside(faults) }}" + again, 1)
        return '{% import "form_faults.html" as faulty %}\n' + text

    def _shown(self, at: int, ink: Ink) -> list[tuple[str, Mapping[str, Any]]]:
        """The dealer code, and what the page repeats of earlier ones."""
        known = self.known
        shown = f'portal.shown("{{0}}", {_VALUE})'
        marks: list[tuple[str, Mapping[str, Any]]] = [
            (css, {"inner": ink.of("{{ " + shown.format(name) + " }}")}) for name, css in known.steps[at].shows.items()
        ]
        dealer = ink.of("{{ session.dealer }}")
        if at == known.dealer_on and "dealer" in known.controls:
            marks.append((known.controls["dealer"], {"attributes": {"value": dealer}}))
        elif at == known.dealer_on and "dealer" in known.css:
            marks.append((known.css["dealer"], {"inner": dealer}))
        return marks

    def _control(
        self, name: str, frame: Frame, ink: Ink, choices: Mapping[str, str]
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """What the control holds, or which of its options is chosen."""
        value, css = _VALUE.format(name), self.known.controls[name]
        if name in self.known.radios:
            sent = {text: key for key, text in choices.items()}
            return [
                (at, {"attributes": {"value": _inert(html.escape(sent.get(text, text)))},
                      "more": ink.of(_chosen(value, sent[text], "checked") if text in sent else "")})
                for text, at in self.known.radios[name].items()
            ]  # fmt: skip
        if name in self.known.options:
            return [(css, {"inner": ink.of(_options(self.known.options[name], choices, value))})]
        if frame.locator(f"css={css}").evaluate("element => element.tagName") == "TEXTAREA":
            return [(css, {"inner": ink.of(f"{{{{ {value} }}}}")})]
        return [(css, {"attributes": {"value": ink.of(f"{{{{ {value} }}}}")}})]

    def done(self, page: RecordedPage, reference: str) -> str:
        """The answer: as many numbers as it shows."""
        ink, selector = Ink(), self.known.css["reference"]
        frame = self.closed.show(page.html)
        before, _, after = " ".join((frame.locator(f"css={selector}").text_content() or "").split()).partition(
            reference
        )
        each, end = ink.of("{% for reference in outcome.shown %}"), ink.of("{% endfor %}")
        blocks = [re.sub(r"[^\W_]", "█", text) for text in (before, after)]
        inner = html.escape(blocks[0]) + ink.of("{{ reference }}") + html.escape(blocks[1])
        marks: dict[str, dict[str, Any]] = {selector: {"inner": inner}}
        for what, key, text in (("row begins", "before", each), ("row ends", "after", end)):
            marks.setdefault(_related(frame, selector, what) or selector, {})[key] = text
        text = self._drawn(page, list(marks.items()), ink, "", reference)
        draft = "{% if outcome.draft %}<h1>Saved</h1><p>Draft {{ outcome.draft }} is not sent.</p>{% else %}"
        return text.replace("<body>", f"<body>{draft}", 1).replace("</body>", "{% endif %}</body>", 1)


def _options(texts: Sequence[str], choices: Mapping[str, str], value: str) -> str:
    """Options of a select, in their order; what says no value of the claim sends its own text, or, first, nothing."""
    sent = {text: key for key, text in choices.items()}
    made = []
    for at, text in enumerate(texts):
        said = sent.get(text, "" if at == 0 else text)
        key, shown = (_inert(html.escape(one)) for one in (said, text))
        chosen = _chosen(value, sent[text], "selected") if text in sent else ""
        made.append(f'<option value="{key}"{chosen}>{shown}</option>')
    return "".join(made)


def _chosen(value: str, key: str, word: str) -> str:
    return f"{{{{ ' {word}' if {value} == {json.dumps(key)} }}}}"


def _inert(text: str) -> str:
    return text.replace("{", "&#123;").replace("}", "&#125;")


def _related(frame: Frame, selector: str, what: str) -> str | None:
    """The CSS of an element that belongs to this one."""
    found = frame.evaluate_handle(_RELATED, [selector, what]).as_element()
    return str(found.evaluate(PATH)) if found is not None else None


# --- the drawing itself ---


def _document(
    page: RecordedPage, known: Recognised, closed: ClosedPage, title: str, reference: str | None,
    marks: Sequence[tuple[str, Mapping[str, Any]]], ink: Ink, scope: str = "",
) -> str:  # fmt: skip
    frame = closed.show(page.html)
    keep = [*words_of(known), *([reference] if reference else [])]
    return _HEAD.format(html.escape(title), ink.dry(_draw(frame, keep, known, scope, marks)))


def _draw(
    frame: Frame, keep: Sequence[str], known: Recognised, scope: str, marks: Sequence[tuple[str, Mapping[str, Any]]]
) -> str:  # fmt: skip
    css = " ".join([*_css_in(known.said.values()), *known.css.values()])
    says = [step.contract.aria for step in known.steps if step.contract is not None and scope]
    lines = [line.name for said in says for line in aria.read(said or "")]
    drawn: str = frame.evaluate(_REDRAW, [keep, lines, css, scope, [list(mark) for mark in marks]])
    return re.sub(r"\n\s*\n+", "\n", drawn).strip()


def _css_in(values: Collection[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):
            yield from (value[key] for key in ("css", "testid") if isinstance(value.get(key), str))
            yield from _css_in(value.values())

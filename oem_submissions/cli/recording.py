"""`oem-submissions new-oem --record` and `--from-pages`: pages, questions, and what is filled in of the scaffold.

What pages say is `portal.recognition`'s; here it is put into the files of the scaffold. What could not be told stays
FILL IN, with what is known. Nothing that an engineer types into a page is written to any file.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.text import Text
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from oem_submissions.cli.errors import NotSo, terminal
from oem_submissions.domain.needles import Needles
from oem_submissions.domain.texts import shortened, visible
from oem_submissions.portal.packs import FILL_IN, unfilled
from oem_submissions.portal.proposal import in_one_line, put_contract
from oem_submissions.portal.recognition import FormStep, Place, Recognised, Wanted, candidates, recognise, without
from oem_submissions.portal.recording import (
    MOST_PAGES,
    ClosedPage,
    PageKind,
    RecordedPage,
    Recorder,
    RecordingRefused,
    further_pages,
    saved_page,
    saved_pages,
)
from oem_submissions.portal.redrawing import golden, templates
from oem_submissions.portal.scrubbing import Scrubber

ANSWERS = "answers.yaml"
"""Beside saved pages: what no page says, by the pack's keys."""
REAL = (
    "What you submit in a live portal is really filed, and nothing stops it; nothing is clicked for you. You may stop"
    " before the submission, and give the file of a confirmation that was saved earlier instead. A claim that you file"
    " here is filed by hand: see to it that the CRM does not hold it as due, or it is filed again."
)
_STOPS: tuple[tuple[PageKind, str], ...] = (
    ("login", "Go to the page on which one signs in. Don't sign in yet."),
    ("form", "Sign in, and go to the empty form of a new claim, to its first page. Fill nothing in yet."),
    ("refusal", "A page on which the portal refuses a claim, if you have one. What it does not refuse, it files."),
    (
        "confirmation",
        "The page after a submission. Submit only a claim that is due and yours to file: it is filed then.",
    ),
    ("history", "Go to the list of what was filed."),
)
_FURTHER = (
    "Has the form a next page? Then fill in the one that shows, and go on to it. But if the button on the page that was"
    " read last files the claim, don't press it: there is no next page, answer with -."
)
_KEYS = "[Enter: read what the browser shows | FILE: a saved page | -: leave it out] "
_NUMBERS = frozenset({"settle_minutes", "days"})
_CONTRADICTED: Mapping[tuple[str, ...], Any] = {
    ("login", "go"): {"role": "button", "name": f"{FILL_IN}the button that signs in"},
    ("login", "signed_in"): {
        "role": "link",
        "name": f"{FILL_IN}what only who is signed in sees, the way out as a rule",
    },
    ("login", "sign_out"): {"role": "link", "name": f"{FILL_IN}the link that signs out"},
    ("history", "go"): {"role": "button", "name": f"{FILL_IN}the button that filters the list"},
    ("history", "table"): {"css": f"{FILL_IN}the list's table", "because": "the page has more tables than this"},
    ("listing", "open", "0", "click"): {"role": "link", "name": f"{FILL_IN}a link to another page than the list"},
}
"""Guesses of the template that the pages don't bear out."""

_SPARE = "# No field of the claim goes to these. Where the mapping fills one in, list it among the fields, by a name."
_MARKER = {"role": "heading", "name": f"{FILL_IN}what is visible on this page of the form, and on no other"}
_SCOPE = {"css": f"{FILL_IN}the form of this page", "because": "nothing else names it"}
_NEXT = {"click": {"role": "button", "name": f"{FILL_IN}the button that leads to the next page"}}

Ask = Callable[[str], str]
"""Asks the person at the terminal; an empty answer leaves it open."""


@dataclass(frozen=True)
class Pages:
    """What was recorded, or saved."""

    by_kind: Mapping[PageKind, RecordedPage]
    further: tuple[RecordedPage, ...] = ()
    """Of a form of several pages, those behind the first."""
    around: tuple[RecordedPage, ...] = ()
    typed: frozenset[str] = field(default=frozenset(), repr=False)

    def holds(self, public: str) -> Callable[[str], bool]:
        """Whether a text holds something that was typed into a page, and that does not stand in `public`."""
        pages = (*self.by_kind.values(), *self.further, *self.around)
        typed = self.typed | {text for page in pages for text in page.typed}
        scrubber = Scrubber(Needles())
        scrubber.begin_claim([("what was typed", text) for text in typed], [], [public])
        return lambda text: bool(scrubber.spans(text))


# --- where pages come from ---


def pages_of(folder: Path, closed: ClosedPage) -> tuple[Pages, dict[str, str]]:
    """Saved pages, and the answers beside them. Raises `ConfigurationError`, `NotSo`."""
    path = folder / ANSWERS
    said = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not isinstance(said, dict):
        raise NotSo(f"{path} is no list of answers: write a key of the pack and its value on each line.")
    pages = Pages(saved_pages(folder, closed), further_pages(folder, closed))
    return pages, {str(key): str(value) for key, value in said.items()}


def walk(recording: Recorder, closed: ClosedPage, ask: Ask, say: Callable[[str], None]) -> Pages:
    """Stop by stop through the portal, as the person goes. Raises `RecordingRefused`."""
    say(REAL)
    found: dict[PageKind, RecordedPage] = {}
    further: list[RecordedPage] = []
    around: list[RecordedPage] = []
    stop = partial(_stop, recording, closed, ask, say)
    for number, (kind, words) in enumerate(_STOPS, start=1):
        seen = stop(kind, f"{number}/{len(_STOPS)} {words}")
        if seen:
            found[kind], around = seen[0], [*around, *seen[1:]]
        elif kind == "form":
            raise RecordingRefused("Without the form there is no pack: begin again, and show it.")
        last = found.get("form")
        while kind == "form" and last and len(further) < MOST_PAGES and (seen := stop(kind, _FURTHER, last)):
            last = seen[0]
            further.append(last)
            around += seen[1:]
    return Pages(found, tuple(further), tuple(around), frozenset(recording.typed))


def _stop(
    recording: Recorder, closed: ClosedPage, ask: Ask, say: Callable[[str], None], kind: PageKind, words: str,
    last: RecordedPage | None = None,
) -> list[RecordedPage]:  # fmt: skip
    """The page that the person shows, and then what else its window shows; nothing when it is left out.

    `last` is the page before, which is not it.
    """
    while True:
        answer = recording.waiting_for(partial(ask, f"{words}\n{_KEYS}"), say).strip()
        if answer == "-":
            return []
        try:
            seen = [saved_page(Path(answer).expanduser(), closed)] if answer else recording.look()
        except RecordingRefused as error:
            say(str(error))
            continue
        if kind in ("login", "form"):
            seen.sort(key=lambda page: -page.controls)  # of a window and its frames, the one that holds the form
        page = seen[0]
        if last is not None and page.html == last.html:
            say("That page was read already: go on to the next, or answer with - if there is none.")
            continue
        where = "" if page.path is None else f" at {page.path}"
        say(f"Read: '{page.title or 'a page without a title'}'{where}, with {page.controls} controls.")
        if page.controls or kind not in ("login", "form"):
            return seen
        say("A page without a control is not what is asked for: show it, and press Enter again.")


NOTHING: Mapping[str, Any] = {
    "words": {}, "columns": {}, "paths": {}, "sent_format": "", "refused_text": "", "labels": {}, "names": {},
    "choices": {}, "golden_reference": "", "reference": "", "login_names": None, "steps": [],
    "trouble": [],
}  # fmt: skip
"""The skin of a portal of which nothing was recorded."""


# --- what is made of them ---


@dataclass(frozen=True)
class Draft:
    """What the files of the scaffold become."""

    pack: str
    files: Mapping[str, str]
    """Golden pages and templates, by their path in the scaffold's words."""
    skin: Mapping[str, Any]
    """What the templates of adapter and skin are rendered with."""
    left: tuple[str, ...]
    """What is still to be filled in, a line each."""


def wanted_of(kind: Mapping[str, Any], words: Mapping[str, Sequence[str]]) -> list[Wanted]:
    """The fields of a claim type, as `claim_types.yaml` and `field_words.yaml` have them."""
    called = {one["name"]: (one["words"], *words.get(one["name"], ())) for one in kind["fields"]}
    return [
        Wanted(one["name"], called[one["name"]], one["choices"], one["critical"], one["sensitivity"])
        for one in kind["fields"]
    ]


def draft(
    pages: Pages, closed: ClosedPage, pack: str, oem: str, title: str, claim_type: str, kind: Mapping[str, Any],
    wanted: Sequence[Wanted], listed: Sequence[str], answers: Mapping[str, str], ask: Ask | None,
) -> Draft:  # fmt: skip
    """The scaffold's pack with what the pages say and what was answered. Raises `NotSo` for an answer to nothing."""
    answers = dict(answers)
    reference = answers.pop("reference", None) or _ask_reference(pages, closed, ask)
    typed = pages.typed | {text for page in (*pages.by_kind.values(), *pages.further) for text in page.typed}
    known = recognise(
        pages.by_kind, pages.further, pages.around, typed, claim_type, wanted, kind["search"], listed, closed, reference
    )
    holds = pages.holds(reference or "")
    without(known, holds)
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    root = yaml.load(pack)
    _fill_in(root, known, claim_type, pages)
    choices = _choices(known, wanted)
    open_places = _Open(root, choices)
    open_places.hint(known)
    open_places.answer(answers, ask)
    text = io.StringIO()
    yaml.dump(root, text)
    form = root["forms"][claim_type]
    made = _pages(pages, known, closed, oem, title, claim_type, choices, reference)
    held = sorted(path for path, said in made.items() if holds(said))
    left = [*open_places.left(), *_goldens_left(pages, reference)]
    left += known.trouble
    left += [f"{path}: it held what was typed into a page, and was not written" for path in held]
    made = {path: said for path, said in made.items() if path not in held}
    skin = _skin(known, form, choices, oem, reference)
    return Draft(_with_comments(text.getvalue(), known), made, skin, tuple(left))


def _ask_reference(pages: Pages, closed: ClosedPage, ask: Ask | None) -> str | None:
    page = pages.by_kind.get("confirmation")
    if page is None or ask is None:
        return None
    there = "; ".join(f"{visible(value)} ({visible(caption)})" for caption, value in candidates(page, closed)[:8])
    answer = ask(
        f"The number of the claim, as the confirmation shows it; there is: {there or 'none beside a caption'}\n> "
    )
    return answer.strip() or None


def _inside(node: Any, key: str | int) -> Any:
    """What is there in a part of the pack; None if nothing is."""
    try:
        return node[key]
    except (KeyError, IndexError):
        return None


def _fill_in(root: Any, known: Recognised, claim_type: str, pages: Pages) -> None:
    """What is known, in its places; a guess of the template that is not borne out is to be filled in again."""
    _lay_out(root["forms"][claim_type], known.steps)
    for place, value in known.said.items():
        node: Any = root
        for key in place[:-1]:
            node = _inside(node, key)
            if node is None:
                break
        if node is None:
            continue
        if value is not None:
            node[place[-1]] = in_one_line(value)
        elif place[-1] == "kind":
            node.pop("kind", None)
        else:
            tail = tuple(map(str, place))
            again = next((said for end, said in _CONTRADICTED.items() if tail[-len(end) :] == end), None)
            if again is not None:
                node[place[-1]] = in_one_line({k: DoubleQuotedScalarString(v) for k, v in again.items()})
    form = root["forms"][claim_type]
    for page, step in zip(form["pages"], known.steps, strict=True):
        if (contract := step.contract) is not None:
            section = page["contract"]
            section["scope"] = in_one_line(contract.scope.model_dump(mode="json", exclude_none=True))
            put_contract(section, contract)
            if contract.aria is None:
                section.pop("aria")
        if "errors" in page:
            page["errors"] = in_one_line(dict(form["refusals"][0]["box"]))
    if frame := pages.by_kind["form"].frame:
        form.insert(1, "frame", in_one_line({"css": frame, "because": "the frame that shows the form"}))


def _lay_out(form: Any, steps: Sequence[FormStep]) -> None:
    """The template's one page as so many as there are, each with its own fields; what is on none stays on the first."""
    first = form["pages"][0]
    for step in steps[1:]:
        page = CommentedMap(name="", marker=in_one_line(_MARKER))
        if step.fields:
            page["fields"] = CommentedMap((name, first["fields"].pop(name)) for name in step.fields)
        if step.shows:
            page["shows"] = CommentedMap()
        page["contract"] = CommentedMap(scope=in_one_line(_SCOPE), controls=[])
        if step.takes_files and "attachments" in first:
            page["attachments"] = first.pop("attachments")
        form["pages"].append(page)
        before = form["pages"][-2]
        before["next"], before["errors"] = in_one_line(_NEXT), {}
    if not first["fields"]:
        first.pop("fields")


def _choices(known: Recognised, wanted: Sequence[Wanted]) -> dict[str, dict[str, str]]:
    """Texts of options by field and by the claim's value; what can't be told is to be filled in."""
    made: dict[str, dict[str, str]] = {}
    for one in wanted:
        if not one.choices or one.name not in known.options:
            continue
        texts = {text.casefold(): text for text in known.options[one.name]}
        there = ", ".join(f"'{text}'" for text in known.options[one.name] if text)
        made[one.name] = {
            value: texts.get(guess.casefold()) or texts.get(value.casefold())
            or f"{FILL_IN}the option for '{value}'; there are {there}"
            for value, guess in one.choices.items()
        }  # fmt: skip
    return made


class _Open:
    """The places that are still to be filled in."""

    def __init__(self, root: Any, choices: dict[str, dict[str, str]]) -> None:
        self._root = {"pack": root, "choices": choices}

    def _places(self) -> list[tuple[Place, str]]:
        return [*unfilled(self._root["pack"]), *(
            (("choices", *where), wanted) for where, wanted in unfilled(self._root["choices"])
        )]  # fmt: skip

    def _put(self, place: Place, value: Any) -> None:
        node, keys = (self._root["choices"], place[1:]) if place[0] == "choices" else (self._root["pack"], place)
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value

    def hint(self, known: Recognised) -> None:
        """Say at each place what is known."""
        for place, wanted in self._places():
            found = [known.hints[place[:at]] for at in range(len(place), 0, -1) if place[:at] in known.hints]
            if found and place[0] != "choices":
                said = shortened(f"{FILL_IN}{wanted}; {found[0]}", 600)
                self._put(place, DoubleQuotedScalarString(said))

    def answer(self, answers: Mapping[str, str], ask: Ask | None) -> None:
        """Put in what was answered, and ask for the rest. Raises `NotSo` for an answer to nothing, or to two."""
        for key, value in answers.items():
            fitting = [place for place, _ in self._places() if f".{key}." in f".{_dotted(place)}."]
            if len(fitting) != 1:
                what = ", ".join(_dotted(place) for place in fitting) or "nothing that is left to fill in"
                raise NotSo(f"The answer '{visible(key)}' is for {what}: name one key, as `packs check` does.")
            self._put(fitting[0], _typed(fitting[0], value))
        for place, wanted in self._places() if ask else ():
            assert ask is not None
            if value := ask(f"{_dotted(place)}: {visible(wanted)}\n> ").strip():
                self._put(place, _typed(place, value))

    def left(self) -> list[str]:
        """What nobody could say, a line each."""
        return [f"{_dotted(place)}: {visible(wanted)}" for place, wanted in self._places()]


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))


def _typed(place: Place, value: str) -> Any:
    return int(value) if place[-1] in _NUMBERS and value.isdecimal() else value


def _with_comments(text: str, known: Recognised) -> str:
    """The controls that no field goes to, ready to be taken in; nobody may see what they hold."""
    steps = iter(known.steps)

    def above(contract: re.Match[str]) -> str:
        left = next(steps, FormStep()).left
        found = [(words, json.dumps(find, ensure_ascii=False) if find else "…") for words, find in left]
        lines = [_SPARE] if left else []
        lines += [f"# a_name: {{find: {find}, sensitivity: secret}}   # {words}" for words, find in found]
        return "".join(f"  {contract[1]}{line}\n" for line in lines) + contract[0]

    return re.sub(r"(?m)^( +)contract:$", above, text)


# --- golden pages and the simulated portal ---


def _pages(
    pages: Pages, known: Recognised, closed: ClosedPage, oem: str, title: str, claim_type: str,
    choices: Mapping[str, Mapping[str, str]], reference: str | None,
) -> dict[str, str]:  # fmt: skip
    made = {}
    folder = f"selectors/{oem}/golden"
    by_kind = pages.by_kind
    if reference and "reference" in known.css:
        made[f"{folder}/confirmation.html"] = golden(by_kind["confirmation"], known, closed, title, reference)
    if "box" in known.css:
        made[f"{folder}/refusal.html"] = golden(by_kind["refusal"], known, closed, title)
    own = templates(by_kind, pages.further, known, closed, title, claim_type, choices, reference)
    made |= {f"oem_submissions/simulator/templates/{oem}/{name}": text for name, text in own.items()}
    return made


def _goldens_left(pages: Pages, reference: str | None) -> list[str]:
    missing = [kind for kind in ("confirmation", "refusal") if kind not in pages.by_kind]
    left = [f"golden/{kind}.html: no such page was recorded" for kind in missing]
    if "confirmation" in pages.by_kind and not reference:
        left.append("golden/golden.yaml: the claim's number on the confirmation (--reference)")
    return left


def _skin(
    known: Recognised, form: Any, choices: Mapping[str, Mapping[str, str]], oem: str, reference: str | None
) -> dict[str, Any]:
    """What is peculiar to the simulated portal; only what is known."""

    def said(*keys: str | int) -> str:
        node: Any = form
        for key in keys:
            node = _inside(node, key) if node is not None else None
        return node if isinstance(node, str) and not node.startswith(FILL_IN) else ""

    history = "history"
    words = {
        "new": said("open", 0, "click", "name"),
        "files": known.labels.get("files", ""),
        "send": said("submit", "button", "find", "name"),
        "done": said("confirmation", "marker", "name"),
        "number": known.labels.get("number", ""),
        "filed": said(history, "open", 0, "click", "name"),
        "missing": said("refusals", 0, "rejections", 0, "text"),
        "exists": said("refusals", 0, "rejections", 2, "text"),
        "home": said(history, "listing", "open", 0, "click", "name"),
        "sign_out": known.said.get(("login", "sign_out"), None) and known.said["login", "sign_out"]["name"] or "",
        "heading": said(history, "marker", "name"),
        "wanted": known.labels.get("wanted", ""),
        "find": said(history, "go", "name"),
        "nothing": said(history, "empty", "text"),
        "next": said(history, "next", "name"),
    }
    columns = {name: text for name, text in form[history]["key"].items() if not text.startswith(FILL_IN)}
    columns |= {
        "reference": said(history, "reference"),
        "sent": said(history, "listing", "submitted", "heading"),
        "decision": said(history, "listing", "decisions", "heading"),
    }
    usual = {"start": "/", "login": "/login", "form": "/claims/new", "submit": "/claims", "list": "/claims/list"}
    usual |= {f"step{number}": f"/claims/step/{number}" for number in range(1, len(known.steps))}
    paths = {usual[name]: path for name, path in known.paths.items() if path and path != f"/{oem}{usual[name]}"}
    return {
        "words": {name: text for name, text in words.items() if text},
        "columns": {name: text for name, text in columns.items() if text},
        "paths": paths,
        "sent_format": said(history, "listing", "submitted", "format"),
        "refused_text": said("refusals", 0, "rejections", 1, "text"),
        "labels": known.labels,
        "names": known.names,
        "choices": {name: {value: text for value, text in found.items() if not text.startswith(FILL_IN)}
                    for name, found in choices.items()},
        "golden_reference": reference or "",
        "reference": _numbered(reference) if reference else "",
        "login_names": known.login_names,
        "trouble": [visible(one) for one in known.trouble],
        "steps": [list(step.fields) for step in known.steps] if len(known.steps) > 1 else [],
    }  # fmt: skip


def _numbered(reference: str) -> str:
    """Python of a number like this one, another for every `number`: the last long run of digits counts."""
    runs = list(re.finditer(r"\d+", reference))
    counting = max(runs, key=lambda run: (len(run[0]), run.start()), default=None)
    made, at = "", 0
    for run in runs:
        made += json.dumps(reference[at : run.start()])[1:-1].replace("{", "{{").replace("}", "}}")
        is_year = run is not counting and len(run[0]) in (2, 4)
        short = "year % 100:02d" if len(run[0]) == 2 else "year"
        made += f"{{number:0{len(run[0])}d}}" if run is counting else f"{{{short}}}" if is_year else run[0]
        at = run.end()
    return f'f"{made}{json.dumps(reference[at:])[1:-1].replace("{", "{{").replace("}", "}}")}"'


def say(text: str) -> None:
    """On the terminal, as it is."""
    terminal.print(Text(visible(text)), soft_wrap=True)

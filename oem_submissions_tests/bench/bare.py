"""What an engineer writes in an afternoon: log in, fill, photograph, click, photograph, take the number down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Dialog, Page

from oem_submissions.ports import Account


def file_claims(
    browser: Browser, url: str, account: Account, claims: Sequence[Mapping[str, str]], folder: Path
) -> None:
    """File claims, given by the names of Aurora's form fields, one after the other."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    try:
        page = context.new_page()
        page.on("dialog", _accept)
        page.goto(f"{url}/aurora/")
        page.get_by_label("User ID").fill(account.username)
        page.get_by_label("Password").fill(account.password)
        page.get_by_role("button", name="Sign in").click()
        for values in claims:
            _file(page, values, folder)
    finally:
        context.close()


def _accept(dialog: Dialog) -> None:
    dialog.accept()


def _file(page: Page, values: Mapping[str, str], folder: Path) -> None:
    name = values["repair_order"]
    page.get_by_role("link", name="New warranty claim").click()
    for field, value in values.items():
        control = page.locator(f"form#claim [name={field}]")
        if field == "coverage":
            control.select_option(label=value)
        elif field != "claim_total":
            control.fill(value)
    page.screenshot(path=folder / f"{name}-before.png", full_page=True)
    page.get_by_role("button", name="Submit claim", exact=True).click()
    reference = page.locator("th:text-is('Claim number') + td").inner_text()
    page.screenshot(path=folder / f"{name}-after.png", full_page=True)
    with (folder / "filed.jsonl").open("a") as record:
        record.write(json.dumps({"repair_order": name, "reference": reference}) + "\n")

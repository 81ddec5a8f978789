// Cascade Connect: the whole portal. Pages are drawn here, data comes as JSON.
"use strict";
const app = document.getElementById("app");
const POLL_MS = 250, MOST_POLLS = 20;
const KINDS = {
  delivery_report: { title: "Report a delivery", submit: "Submit report", again: "New report" },
  incentive: { title: "Claim an incentive", submit: "Submit incentive claim", again: "New incentive claim" },
};
const NAMES = { delivery_report: "Delivery", incentive: "Incentive" };
let who = null;

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(2).filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) { options.headers["Content-Type"] = "application/json"; options.body = JSON.stringify(body); }
  const answer = await fetch("/cascade/api" + path, options);
  const json = await answer.json().catch(() => ({}));
  if (answer.status === 401 && !path.startsWith("/login")) { who = null; drawLogin(json.error); throw new Error("signed out"); }
  return { status: answer.status, json };
}

const alertBox = errors => el("div", { class: "alert", role: "alert" }, el("ul", {}, errors.map(text => el("li", {}, text))));

function drawLogin(message = "") {
  const error = el("div", { class: "alert", role: "alert", hidden: !message }, message);
  const form = el("form", { class: "card login", onsubmit: async event => {
    event.preventDefault();
    const answer = await call("POST", "/login", Object.fromEntries(new FormData(form)));
    if (answer.json.next === "in") return start();
    if (answer.json.next) return drawCode(answer.json.next);
    error.hidden = false; error.textContent = answer.json.error || "Sign-in is not possible now (HTTP " + answer.status + ").";
  } },
    el("h1", {}, "Cascade Connect"), error,
    field("username", "Username", { autocomplete: "username" }),
    field("password", "Password", { type: "password", autocomplete: "current-password" }),
    el("button", { class: "button primary", type: "submit" }, "Log in"));
  app.replaceChildren(form);
}

function drawCode(stage) {
  const error = el("div", { class: "alert", role: "alert", hidden: true });
  const form = el("form", { class: "card login", onsubmit: async event => {
    event.preventDefault();
    const answer = await call("POST", "/login/code", Object.fromEntries(new FormData(form)));
    if (answer.json.next === "in") return start();
    error.hidden = false; error.textContent = answer.json.error;
  } },
    el("h1", {}, "One more step"), error,
    el("p", {}, stage === "mailed" ? "We do not know this browser. A code was mailed to you." : "Enter the code of your authenticator."),
    field("code", stage === "mailed" ? "E-mailed code" : "Authenticator code", { maxlength: 6 }),
    el("button", { class: "button primary", type: "submit" }, "Verify"));
  app.replaceChildren(form);
}

function field(name, label, attributes = {}, hint = "") {
  return el("div", { class: "field" }, el("label", { for: name }, label),
    el("input", { id: name, name, type: "text", autocomplete: "off", ...attributes }), hint && el("small", {}, hint));
}

function picker(name, label, options) {
  // The native select lies invisible under a drawn one; both always show the same.
  const native = el("select", { id: name, name }, el("option", { value: "" }, "Choose ..."),
    Object.entries(options).map(([value, text]) => el("option", { value }, text)));
  const shown = el("span", {}, "Choose ...");
  const list = el("div", { class: "options", hidden: true, "aria-hidden": "true" }, Object.entries(options).map(([value, text]) =>
    el("div", { onclick: () => { native.value = value; native.dispatchEvent(new Event("change")); list.hidden = true; } }, text)));
  native.addEventListener("change", () => { shown.textContent = native.selectedOptions[0].textContent; });
  return el("div", { class: "field" }, el("label", { for: name }, label), el("div", { class: "select" }, native,
    el("div", { class: "pick", "aria-hidden": "true", onclick: () => { list.hidden = !list.hidden; } }, shown), list));
}

function frame(title, ...content) {
  const here = location.hash || "#/overview";
  const link = (hash, text) => el("a", { href: hash, class: here === hash ? "here" : "", onclick: () => { if (location.hash === hash) draw(); } }, text);
  app.replaceChildren(el("div", { class: "layout" },
    el("aside", {}, el("div", { class: "logo" }, el("i"), "Cascade Connect"),
      el("nav", { "aria-label": "Main" }, link("#/overview", "Overview"), link("#/deliveries", "Report a delivery"),
        link("#/incentives", "Claim an incentive"), link("#/history", "History")),
      el("small", {}, "Release 2026.11.3 (build RDR-4471). Support 1-800-555-0119")),
    el("div", {},
      el("div", { class: "top" }, el("span", { "data-testid": "dealer" }, "Dealer " + who.dealer + " \u00b7 " + who.dealer_name),
        el("span", {}, who.username + " ", el("button", { type: "button", onclick: async () => { await call("POST", "/logout", {}); who = null; drawLogin(); } }, "Sign out"))),
      el("main", {}, el("h1", {}, title), content))));
}

function drawOverview() {
  frame("Overview", el("div", { class: "stats" },
    el("div", { class: "card" }, el("b", {}, "34"), "vehicles in stock"),
    el("div", { class: "card" }, el("b", {}, "7"), "in transit"),
    el("div", { class: "card" }, el("b", {}, "92 %"), "objective this quarter")),
    el("div", { class: "card" }, el("h2", {}, "Announcements"), el("p", {}, "Program WINTER26 runs until 2027-01-04. Deliveries must be reported on the day of sale."),
      el("p", {}, "A submitted report can't be changed here. Call support to unwind it.")));
}

async function drawForm(kind) {
  const form = (await call("GET", "/form?kind=" + kind)).json, quirks = new Set(form.quirks), words = KINDS[kind];
  const notes = el("div"), tokens = [];
  const submit = el("button", { class: "button primary", type: "submit" }, quirks.has("swapped_buttons") ? "Save for later" : words.submit);
  const vinLabel = quirks.has("renamed_label") ? "Vehicle identification no." : "VIN";
  const inputs = kind === "delivery_report" ? [
    field("vin", vinLabel, { maxlength: 17 }), field("sale_sequence", "Sale sequence", { maxlength: 1, value: "1" }),
    field("sale_date", "Sale date", { placeholder: "YYYY-MM-DD", maxlength: 10 }), picker("sale_type", "Sale type", form.sale_types),
    field("salesperson", "Salesperson ID", { maxlength: 64 }), field("customer_name", "Customer name", { maxlength: 200 }),
    field("lender", "Lender", { maxlength: 200 }, quirks.has("renamed_text") ? "Optional for cash sales" : "Leave empty for cash"),
  ] : [
    field("vin", vinLabel, { maxlength: 17 }), field("programme", "Program code", { maxlength: 64 }),
    field("sale_date", "Sale date", { placeholder: "YYYY-MM-DD", maxlength: 10 }), field("customer_name", "Customer name", { maxlength: 200 }),
    field("amount", "Amount (USD)", { placeholder: "0.00", maxlength: 12 }), upload(tokens, notes),
  ];
  if (quirks.has("new_required_field")) inputs.push(field("mileage", "Mileage at delivery", { required: true }));
  if (quirks.has("new_hidden_input")) inputs.push(el("input", { type: "hidden", name: "form_variant", value: "B" }));
  const decoys = [
    el("button", { class: "button", type: "button", onclick: async () => {
      const saved = (await call("POST", "/saved", values())).json;
      notes.replaceChildren(el("div", { class: "toast", role: "status" }, "Saved for later as " + saved.draft + ". Nothing was submitted."));
    } }, quirks.has("swapped_buttons") ? words.submit : "Save for later"),
    el("button", { class: "button", type: "button", onclick: async () => {
      const check = (await call("POST", "/checks", { vin: values().vin })).json;
      notes.replaceChildren(el("div", { class: "toast", role: "status" }, check.message));
    } }, "Check VIN"),
  ];
  const moved = quirks.has("moved_button");
  const restyled = ".card { display: grid; background: #222; } label { text-transform: uppercase; } .actions { flex-direction: row-reverse; }";
  const node = el("form", { class: "card", "aria-label": words.title, autocomplete: "off", onsubmit: async event => {
    event.preventDefault();
    if (quirks.has("posts_twice")) call("POST", "/submissions", values()).catch(() => {});
    await send(kind, values(), notes);
  } }, moved && el("div", { class: "actions head" }, submit), el("div", { class: "fields" }, inputs),
    el("div", { class: "actions" }, decoys, !moved && submit));
  function values() {
    const found = Object.fromEntries([...new FormData(node)].filter(([, value]) => typeof value === "string"));
    return { kind, ...found, files: tokens };
  }
  if (quirks.has("drops_filled_value")) dropFilled(node.elements.vin);
  frame(words.title, notes, quirks.has("restyled") && el("style", {}, restyled), node);
}

function upload(tokens, notes) {
  const input = el("input", { id: "bill_of_sale", type: "file", onchange: async () => {
    state.textContent = "Uploading ...";
    const body = new FormData(); body.append("file", input.files[0]);
    const answer = await call("POST", "/files", body);
    if (answer.json.token) { tokens.splice(0, tokens.length, answer.json.token); state.textContent = "Uploaded " + answer.json.name; }
    else { tokens.length = 0; state.textContent = ""; notes.replaceChildren(alertBox(answer.json.errors || ["CAS-50 Upload failed"])); }
  } });
  const state = el("small", { role: "status" });
  return el("div", { class: "field" }, el("label", { for: "bill_of_sale" }, "Bill of sale"), input, state);
}

function dropFilled(input) {
  let typed = input.value;
  input.addEventListener("keydown", event => { if (event.key.length === 1) typed += event.key; if (event.key === "Backspace") typed = typed.slice(0, -1); });
  const settle = () => { if (input.value !== typed) { typed = ""; input.value = ""; } };
  input.addEventListener("blur", settle);
  input.form.addEventListener("submit", settle, true);
}

async function send(kind, values, notes) {
  const overlay = el("div", { class: "overlay", role: "progressbar", "aria-label": "Submission in process" }, el("div", {}, "Submission is in process ..."));
  document.body.append(overlay);
  notes.replaceChildren();
  try {
    const answer = await call("POST", "/submissions", values);
    if (answer.json.errors) return notes.replaceChildren(alertBox(answer.json.errors));
    if (answer.json.reference) return drawStatus(kind, values, { state: answer.json.state, references: [answer.json.reference] });
    if (answer.status !== 202) return notes.replaceChildren(alertBox([answer.json.error || "Unexpected answer (HTTP " + answer.status + ")"]));
    for (let polls = 0; polls < MOST_POLLS; polls++) {
      await new Promise(resolve => setTimeout(resolve, POLL_MS));
      const poll = await call("GET", "/submissions/" + answer.json.ticket);
      if (poll.status === 200 && poll.json.state !== "in process") return drawStatus(kind, values, poll.json);
    }
    drawStatus(kind, values, { state: "In process", work_ticket: answer.json.work_ticket, later: true });
  } catch (error) {
    if (error.message !== "signed out") notes.replaceChildren(alertBox(["Connection problem. Check History before you submit again."]));
  } finally { overlay.remove(); }
}

function drawStatus(kind, values, status) {
  const bad = Boolean(status.reason), wait = status.state === "In process" || Boolean(status.draft);
  const lines = [["State", el("span", { class: "badge" + (bad ? " bad" : wait ? " wait" : ""), "data-testid": "state" }, status.state)]];
  if (status.draft) lines.push(["Draft", status.draft]);
  if (status.work_ticket) lines.push(["Work ticket", status.work_ticket]);
  for (const reference of status.references || []) lines.push(["Reference", el("span", { "data-testid": "reference" }, reference)]);
  if (status.later) lines.push(["Message", "The reference will be assigned by the nightly run. See History."]);
  if (bad) lines.push(["Reason", status.reason]);
  lines.push(["VIN", values.vin], ["Dealer", who.dealer]);
  frame(KINDS[kind].title, bad && alertBox([status.reason]),
    el("section", { class: "card", "aria-label": "Submission status" }, el("h2", {}, "Submission status"),
      el("dl", {}, lines.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      el("button", { class: "button", type: "button", onclick: () => drawForm(kind) }, KINDS[kind].again)));
}

async function drawHistory(vin = "", page = 1) {
  const answer = await call("GET", "/history?vin=" + encodeURIComponent(vin) + "&page=" + page), found = answer.json;
  const filter = el("form", { class: "filter", onsubmit: event => { event.preventDefault(); drawHistory(new FormData(filter).get("vin"), 1); } },
    field("vin", "VIN", { value: vin, maxlength: 17 }), el("button", { class: "button", type: "submit" }, "Search"));
  if (answer.status !== 200) return frame("History", alertBox([found.error || "History is not available (HTTP " + answer.status + ")"]));
  const cells = row => [row.reference || "\u2014", NAMES[row.kind], row.vin, row.detail, row.sale_date, row.submitted.slice(0, 16).replace("T", " "), row.state, row.disposition];
  const table = el("table", { "aria-label": "Submissions" },
    el("thead", {}, el("tr", {}, ["Reference", "Type", "VIN", "Sequence / program", "Sale date", "Submitted (UTC)", "State", "Decision"].map(text => el("th", {}, text)))),
    el("tbody", {}, found.rows.map(row => el("tr", {}, cells(row).map(text => el("td", {}, text))))));
  const turn = (text, to) => el("button", { class: "button", type: "button", onclick: () => drawHistory(vin, to) }, text);
  frame("History", el("div", { class: "card" }, filter, el("p", { "data-testid": "count" }, found.total + " submissions" + (vin ? " for " + vin : "")),
    found.total ? table : el("p", {}, "Nothing found."),
    el("div", { class: "actions" }, el("span", {}, "Page " + found.page + " of " + found.pages), found.page > 1 && turn("Previous", found.page - 1), found.page < found.pages && turn("Next", found.page + 1))));
}

function draw() {
  if (!who) return;
  const pages = { "#/deliveries": () => drawForm("delivery_report"), "#/incentives": () => drawForm("incentive"), "#/history": () => drawHistory() };
  Promise.resolve((pages[location.hash] || drawOverview)()).catch(() => {});
}

async function start() {
  const answer = await call("GET", "/session").catch(() => null);
  if (!answer) return;
  if (answer.status !== 200) { app.replaceChildren(alertBox(["Cascade Connect is not available (HTTP " + answer.status + ")"])); return; }
  who = answer.json;
  draw();
}

window.addEventListener("hashchange", draw);
start();

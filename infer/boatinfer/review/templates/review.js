"use strict";
// Everything that comes from outside is put into the page as text, never as HTML.
const at = (id) => document.getElementById(id);
const secret = document.querySelector("meta[name=review]").content;
const AHEAD = 8, GRID = 24, POLL = 2000;
let sections = [], classes = [];
const letters = new Map();
let waiting = [], skipped = [], current = null, after = 0, reason = null, ended = false;
let since = 0, asking = null, grid = false, chosen = new Set(), left = new Set(), begun = performance.now();
let saving = Promise.resolve();
const answered = new Map();

async function request(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", "X-Review": secret },
  };
  const reply = await fetch(path, options).catch(() => {
    throw new Error("The server has ended. Start boatinfer review again and open its link.");
  });
  const document_ = await reply.json();
  if (!reply.ok) throw new Error(document_.error);
  return document_;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(text) { at("live").textContent = text; }
function complain(error) { at("alert").textContent = error.message; }

// --- What is asked next

async function fetchMore() {
  if (asking || ended || reason === null) return asking;
  const asked = reason;
  asking = request(`/questions?reason=${asked}&after=${after}&count=${waiting.length ? AHEAD : grid ? GRID : 1}`)
    .then((reply) => {
      if (asked !== reason) return;
      ended = reply.after === null;
      after = reply.after ?? after;
      for (const question of reply.questions) {
        if (answered.get(question.row)) continue;
        waiting.push(question);
        new Image().src = `/image/${question.row}`; // it is there when it is shown
      }
    })
    .catch((error) => { ended = asked === reason; complain(error); })
    .finally(() => { if (asked === reason) asking = null; });
  return asking;
}

async function fill(count) {
  while (waiting.length < count && !ended) await fetchMore();
}

let moving = null;
function next() { // one at a time, so that no section is passed over
  current = null;
  delete document.body.dataset.shown; // until the next picture is there
  begun = performance.now();
  moving ??= move().finally(() => { moving = null; });
  return moving;
}

async function move() {
  for (;;) {
    await fill(grid ? GRID : 1);
    if (waiting.length || !automatic() || !follow()) break;
  }
  if (grid) return showGrid();
  current = waiting.shift() ?? null;
  show();
  if (waiting.length < AHEAD) fetchMore();
}

function automatic() { return at("section").value === ""; }

function follow() { // goes on to the section after this one
  const place = sections.findIndex((one) => one.reason === reason);
  if (place + 1 >= sections.length) return false;
  start(sections[place + 1].reason);
  return true;
}

function start(which) {
  reason = which; after = 0; ended = which === null; waiting = []; asking = null;
}

// --- What is shown

function show() {
  at("one").hidden = grid || !current;
  at("grid").hidden = !grid;
  at("end").hidden = Boolean(current) || grid && waiting.length > 0;
  at("skipped").hidden = !skipped.length;
  at("answers").hidden = !at("end").hidden && !grid;
  document.body.classList.remove("zoomed");
  at("zoom").ariaPressed = "false";
  left.clear();
  if (!current) { guesses([]); if (!grid) say("There is nothing left to ask here."); return; }
  const picture = at("picture");
  picture.src = `/image/${current.row}`;
  picture.alt = `The image, ${current.width} by ${current.height} pixels`;
  at("why").textContent = `${current.reason}: the network says ${inWords(current.guesses)}`;
  at("name").textContent = current.path;
  at("when").textContent = new Date(current.time).toLocaleString();
  guesses(current.guesses);
  frames();
  nearest();
  say(`${current.reason}. Guesses: ${inWords(current.guesses)}. ${current.path}` +
    (current.images.length > 1 ? `. ${current.images.length} images together` : ""));
}

function inWords(all) { return all.map(([label, share]) => `${label} ${(100 * share).toFixed(0)} %`).join(", "); }

function frames() {
  at("together").hidden = current.images.length < 2;
  at("frames").replaceChildren(...(current.images.length < 2 ? [] : current.images.map((one) => {
    const image = element("img", { src: `/small/${one.row}`, alt: "" });
    const button = element("button", { type: "button" }, image, one.path.split("/").pop());
    button.ariaPressed = "true";
    button.onclick = () => {
      left.has(one.row) ? left.delete(one.row) : left.add(one.row);
      button.ariaPressed = String(!left.has(one.row));
    };
    return element("li", {}, button);
  })));
}

function nearest() {
  at("nearest").hidden = !current.nearest.length;
  at("examples").replaceChildren(...current.nearest.map((one) => element("li", {},
    element("img", { src: `/training/${one.row}`, alt: "" }), `${one.label} (${one.distance})`)));
}

function answerButton(label, key, text) {
  const button = element("button", { type: "button" }, ...(key ? [element("kbd", {}, key), " "] : []), text ?? label);
  button.dataset.label = label;
  if (key) button.setAttribute("aria-keyshortcuts", key);
  return button;
}

function guesses(all) {
  at("guesses").replaceChildren(...all.map(([label, share], place) =>
    answerButton(label, String(place + 1), `${label} ${(100 * share).toFixed(0)} %`)));
}

function showClasses(names) {
  if (names.join("\n") === classes.join("\n")) return;
  classes = names;
  const keyed = new Set(letters.values());
  for (const name of classes.filter((one) => !keyed.has(one))) { // a letter never changes
    const free = [...name.toLowerCase(), ..."abcdefghijklmnopqrstuvwxyz"];
    const letter = free.find((one) => /^[a-z]$/.test(one) && !letters.has(one));
    if (letter) letters.set(letter, name);
  }
  const keys = new Map([...letters].map(([letter, name]) => [name, letter]));
  at("classes").replaceChildren(...classes.map((name) => answerButton(name, keys.get(name))));
  at("known").replaceChildren(...classes.map((name) => element("option", { value: name })));
}

function showGrid() {
  current = null;
  chosen.clear();
  at("tiles").replaceChildren(...waiting.slice(0, GRID).map((question) => {
    const more = question.images.length > 1 ? ` and ${question.images.length - 1} like it` : "";
    const text = `${question.guesses[0][0]}${more}`;
    const image = element("img", { src: `/image/${question.row}`, alt: "" });
    const button = element("button", { type: "button", title: question.path }, image, text);
    button.ariaPressed = "false";
    button.onclick = () => {
      chosen.has(question) ? chosen.delete(question) : chosen.add(question);
      mark();
    };
    button.question = question;
    return element("li", {}, button);
  }));
  show();
  mark();
}

function mark() {
  for (const button of at("tiles").querySelectorAll("button")) button.ariaPressed = String(chosen.has(button.question));
  at("selected").textContent = `${chosen.size} selected`;
  say(`${chosen.size} selected`);
}

function zoom(on) {
  if (!current) on = false;
  document.body.classList.toggle("zoomed", on);
  at("zoom").ariaPressed = String(on);
  if (current) at("picture").src = `/${on ? "full" : "image"}/${current.row}`;
}

// --- Answers

function answer(label) {
  const of = grid ? [...chosen] : current ? [current] : [];
  const rows = of.flatMap((one) => one.images.map((image) => image.row))
    .filter((row) => !left.has(row) && !answered.get(row));
  if (!rows.length) return say("Nothing is selected.");
  for (const one of of) answered.set(one.row, true);
  waiting = waiting.filter((one) => !of.includes(one));
  const body = { request: crypto.randomUUID(), rows, label };
  saving = saving.then(() => save(body, of));
  next();
}

async function save(body, of) {
  for (let attempt = 0; ; attempt++) {
    try {
      const reply = await request("/answer", { ...body, since });
      news(reply);
      at("alert").textContent = "";
      const count = body.rows.length - reply.kept;
      say(`Saved: ${body.label}, ${count} image${count === 1 ? "" : "s"}.`);
      kept(reply);
      askAgain(reply.open);
      return;
    } catch (error) {
      if (attempt < 1) continue; // it may have been saved: the same request counts once
      for (const one of of) answered.delete(one.row);
      complain(new Error(`Not saved: ${body.label} for ${of[0].path}. ${error.message}`));
      waiting.unshift(...of, ...(current ? [current] : []));
      next();
      return;
    }
  }
}

function kept(reply) {
  if (!reply.kept) return;
  complain(new Error(`Somebody else has answered ${reply.kept === 1 ? "one" : reply.kept} of these meanwhile; that answer stays.`));
}

function askAgain(questions, now) { // what was left out, or taken back
  if (!questions.length) return;
  const rows = new Set(questions.map((one) => one.row));
  for (const row of rows) answered.delete(row);
  waiting = waiting.filter((one) => !rows.has(one.row));
  if (now && current && !rows.has(current.row)) waiting.unshift(current);
  waiting.unshift(...questions);
  if (now || !current && !grid) next();
}

function undo() {
  saving = saving.then(async () => {
    try {
      const reply = await request("/undo", { since });
      for (const one of reply.open) seen.delete(one.row); // they come back as they are now
      news(reply);
      say("The last answer was taken back.");
      askAgain(reply.open, true);
      kept(reply);
    } catch (error) { complain(error); }
  });
}

function skip() {
  if (grid) { skipped.push(...waiting.splice(0, GRID)); return next(); }
  if (!current) return;
  skipped.push(current);
  say("Skipped.");
  next();
}

function again() {
  waiting.unshift(...skipped.filter((one) => !answered.get(one.row)));
  skipped = [];
  next();
}

// --- What others do

function news(reply) {
  since = reply.since;
  sections = reply.sections;
  showClasses(reply.classes);
  const text = (one) => one.images === null ? one.title : `${one.title} (${one.images.toLocaleString("en")})`;
  const options = sections.map((one) => element("option", { value: one.reason }, text(one)));
  const select = at("section"), value = select.value;
  select.replaceChildren(element("option", { value: "" }, "Everything, in order"), ...options);
  select.value = value;
  at("saved").textContent = `${reply.saved} saved now, ${reply.answered} in all`;
  at("estimate").textContent = reply.estimate || "Reading the results.";
  at("problems").replaceChildren(...reply.problems.map((one) => element("li", {}, one)));
  at("problems").hidden = !reply.problems.length;
  for (const change of reply.changes) changed(change);
}

const seen = new Map(); // the questions that were shown, to bring one back that is open again

function changed({ row, label, by }) {
  const before = answered.get(row);
  answered.set(row, label !== "");
  if (label) {
    waiting = waiting.filter((one) => { if (one.row === row) seen.set(row, one); return one.row !== row; });
    if (current?.row === row) {
      seen.set(row, current);
      say(`${by} has answered this: ${label}.`);
      next();
    }
  } else if (before && seen.has(row)) {
    waiting.unshift(seen.get(row), ...(current ? [current] : []));
    next();
  }
}

async function poll() {
  try { news(await request(`/news?since=${since}`)); } catch (error) { complain(error); }
  setTimeout(poll, POLL);
}

// --- Keys and buttons

function unseen() { // whether the picture of the question is not there yet
  if (grid || !current || document.body.dataset.shown === String(current.row)) return false;
  say("The image is not shown yet.");
  return true;
}

function pressed(label) {
  if (unseen()) return;
  for (const one of [current, ...chosen]) if (one) seen.set(one.row, one);
  answer(label);
}

document.addEventListener("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.target.matches("input, select")) {
    if (key === "Escape") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.repeat) { // a key that is held down answers once
    if (key === "Enter") event.preventDefault();
    return;
  }
  const control = document.querySelector(`[aria-keyshortcuts="${CSS.escape(key)}"]`);
  if (!control || control.closest("[hidden]")) return;
  event.preventDefault();
  if (control.matches("input")) control.focus(); else control.click();
});
at("answers").addEventListener("click", (event) => {
  const label = event.target.closest("button")?.dataset.label;
  if (label !== undefined) pressed(label);
});
at("typed").addEventListener("submit", (event) => {
  event.preventDefault();
  if (unseen()) return;
  const label = at("class").value.trim();
  at("class").value = "";
  at("class").blur();
  if (label) pressed(label);
});
at("skip").onclick = skip;
at("undo").onclick = undo;
at("skipped").onclick = again;
at("zoom").onclick = () => zoom(!document.body.classList.contains("zoomed"));
at("mode").onclick = () => {
  grid = !grid;
  at("mode").ariaPressed = String(grid);
  if (current) waiting.unshift(current);
  next();
};
at("all").onclick = () => { for (const one of waiting.slice(0, GRID)) chosen.add(one); mark(); };
at("section").onchange = () => {
  start(at("section").value || sections[0]?.reason || null);
  next();
};
at("picture").addEventListener("load", () => {
  if (!current || !at("picture").src.endsWith(`/${current.row}`)) return;
  document.body.dataset.shown = current.row;
  document.body.dataset.milliseconds = (performance.now() - begun).toFixed(1);
});

(async () => {
  try { news(await request("/news?since=0")); } catch (error) { return complain(error); }
  start(sections[0]?.reason ?? null);
  await next();
  setTimeout(poll, POLL);
})();

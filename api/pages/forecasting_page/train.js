"use strict";
// The page's state is the address (#session=12) and the server: a reload or another browser shows the same.

const at = (id) => document.getElementById(id);
const FILES = ["forecast.png", "model.pth", "scaler.joblib", "model.onnx", "model.safetensors", "model_info.json", "training_history.json"];
const NUMBERS = ["window_size", "future_steps", "epochs", "batch_size", "learning_rate", "hidden_size", "num_layers", "dropout", "early_stopping_patience", "seed"];
let known = []; // the datasets
let listed = 0; // lists asked for
let drawn = 0; // the list that the page shows
let chosen = 0; // choices of data, so that an answer to an older one is told from one to the newest
let loading = false;
let starting = false;
let epochs = [];
let watched = 0;
let watches = 0;

function headers(more) {
  const key = at("key").value.trim();
  return { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...more };
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers(options.headers) });
  const body = await answer.json();
  if (!answer.ok) throw new Error([body.error, ...(body.validation_errors || [])].join("\n"));
  return body;
}

function tell(error) {
  at("error").textContent = error ? error.message : "";
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// ---- data ----

// A list that was asked for before the one shown is late: it is not drawn.
async function listDatasets() {
  const mine = ++listed;
  const found = (await ask("/datasets")).results;
  if (mine < drawn) return;
  drawn = mine;
  known = found;
  const kept = at("dataset").value;
  const options = known.map((one) => element("option", `${one.name} (${one.rows} rows, ${one.id})`, { value: one.id }));
  at("dataset").replaceChildren(...options);
  if (known.some((one) => one.id === kept)) at("dataset").value = kept;
}

// Choose what `find` comes back with; a choice made in the meantime stays. Nothing starts while data is loading.
async function choose(telling, find) {
  const mine = ++chosen;
  loading = true;
  tell(null);
  at("about").textContent = telling;
  allow();
  let failed = null;
  try {
    const id = await find();
    await listDatasets();
    if (id && mine === chosen) at("dataset").value = id;
  } catch (error) { failed = error; }
  if (mine !== chosen) return;
  showDataset();
  if (failed) tell(failed);
}

function allow() {
  at("start").disabled = loading || starting || !known.length;
  at("mend").disabled = loading;
}

function showDataset() {
  const one = known.find((dataset) => dataset.id === at("dataset").value);
  loading = false;
  allow();
  at("about").textContent = one
    ? `${one.name}: ${one.rows} rows, time column ${one.time_column || "none"}, one row every ${one.frequency_seconds || "?"} s`
    : "No dataset yet: upload one.";
  if (at("columns").dataset.of === (one ? one.id : "")) return; // what is ticked there stays ticked
  at("columns").dataset.of = one ? one.id : "";
  const findings = one ? one.findings : [];
  at("findings").replaceChildren(...findings.map((found) => element("li",
    `${found.message}${found.rows.length ? ` (row ${found.rows.slice(0, 5).join(", ")}${found.count > 5 ? ", …" : ""})` : ""}`)));
  at("mend").hidden = !findings.some((found) => found.fix);
  const numeric = one ? one.columns.filter((name) => one.types[name] === "number") : [];
  at("columns").replaceChildren(...numeric.map((name, place) => {
    const box = element("input", null, { type: "checkbox", name: "target", value: name });
    box.checked = place === numeric.length - 1;
    const label = element("label", null);
    label.append(box, ` ${name}`);
    return label;
  }));
}

function choseListed() {
  chosen += 1;
  tell(null);
  showDataset();
}

async function upload() {
  const file = at("file").files[0];
  if (!file) return;
  const form = new FormData();
  form.append("file", file);
  at("file").value = ""; // so that the same file can be chosen again
  await choose(`Reading ${file.name} …`, async () => (await ask("/datasets", { method: "POST", body: form })).id);
}

async function mend() {
  const one = known.find((dataset) => dataset.id === at("dataset").value);
  const fixes = [...new Set(one.findings.map((found) => found.fix).filter(Boolean))];
  await choose(`Mending ${one.name} …`, async () => (await ask(`/datasets/${one.id}/fixes`, {
    method: "POST", body: JSON.stringify({ fixes }), headers: { "Content-Type": "application/json" },
  })).id);
}

// ---- training ----

async function start(event) {
  event.preventDefault();
  if (at("start").disabled) return;
  tell(null);
  const form = new FormData(at("form"));
  const wish = { dataset: at("dataset").value, target_columns: form.getAll("target"), architecture: form.get("architecture") };
  for (const name of NUMBERS) if (form.get(name) !== "") wish[name] = Number(form.get(name));
  starting = true;
  allow();
  try {
    const answer = await ask(`/train/forecasting/${encodeURIComponent(form.get("model"))}`, {
      method: "POST", body: JSON.stringify(wish), headers: { "Content-Type": "application/json" },
    });
    location.hash = `session=${answer.training_session_id}`;
  } catch (error) { tell(error); }
  starting = false;
  allow();
}

async function watch() {
  const number = Number(new URLSearchParams(location.hash.slice(1)).get("session"));
  const mine = ++watches;
  const current = () => mine === watches;
  at("session").hidden = !number;
  watched = number;
  epochs = [];
  draw();
  at("number").textContent = number || "";
  at("state").textContent = "";
  at("progress").value = 0;
  at("cancel").disabled = true;
  at("downloads").replaceChildren();
  for (let last = ""; number && current();) {
    try {
      const session = await ask(`/train/sessions/${number}`);
      if (current()) show(session);
      last = await follow(number, last, current);
      if (last === null) break;
    } catch (error) { if (current()) at("state").textContent = error.message; }
    await new Promise((resume) => setTimeout(resume, 1500));
  }
}

// Reads the event stream with fetch, because EventSource cannot send an API key. Null: the session has ended.
async function follow(number, last, current) {
  const answer = await fetch(`/train/sessions/${number}/events`, { headers: headers(last ? { "Last-Event-ID": last } : {}) });
  if (answer.status !== 204) {
    if (!answer.ok) throw new Error((await answer.json()).error);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done || !current()) { reader.cancel(); break; }
      text += value;
      const frames = text.split("\n\n");
      text = frames.pop();
      for (const frame of frames) last = take(frame) || last;
    }
  }
  const session = await ask(`/train/sessions/${number}`);
  if (current()) show(session);
  return session.ended_at ? null : last;
}

function take(frame) {
  const parts = Object.fromEntries(frame.split("\n").filter((line) => !line.startsWith(":"))
    .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
  if (!parts.data) return null;
  const facts = JSON.parse(parts.data);
  if (parts.event === "epoch") { epochs.push(facts); draw(); }
  if (facts.progress_pct !== undefined) at("progress").value = facts.progress_pct;
  at("state").textContent = parts.event === "epoch"
    ? `Epoch ${facts.epoch} of ${facts.of}: training loss ${short(facts.train_loss)}, validation loss ${short(facts.val_loss)}; about ${facts.eta_seconds} s left`
    : `Stage: ${parts.event}`;
  return parts.id;
}

function show(session) {
  at("progress").value = session.progress_pct || 0;
  at("cancel").disabled = Boolean(session.ended_at);
  if (!session.ended_at) return;
  const why = session.error ? session.error.error : (session.reasons || []).join(" ");
  at("progress").value = 100;
  at("state").textContent = `${session.state}${session.promoted ? ", and it answers now" : ""}. ${why || ""}`;
  const reports = ["report.html", "report.pdf"].map((name) => [name, `/train/sessions/${session.training_session_id}/${name}`]);
  const folder = `/models/${session.model}/versions/${session.version}/files`;
  const links = [...(session.version ? FILES.map((name) => [name, `${folder}/${name}`]) : []), ...reports];
  if (at("downloads").childElementCount) return; // the session's end does not change
  at("downloads").replaceChildren(...links.map(([name, href]) => {
    const item = element("li", null);
    item.append(element("a", name, { href, download: name }));
    return item;
  }));
}

// A plain link cannot send an API key: where there is one, the file is fetched with it and then saved.
async function download(event) {
  const link = event.target.closest("a");
  if (!link || link.href.startsWith("blob:") || !at("key").value.trim()) return;
  event.preventDefault();
  tell(null);
  try {
    const answer = await fetch(link.href, { headers: headers() });
    if (!answer.ok) throw new Error((await answer.json()).error);
    const saved = element("a", null, { href: URL.createObjectURL(await answer.blob()), download: link.download });
    saved.click();
    setTimeout(() => URL.revokeObjectURL(saved.href), 60_000);
  } catch (error) { tell(error); }
}

async function cancel() {
  const number = watched;
  at("cancel").disabled = true;
  try {
    const session = await ask(`/train/sessions/${number}/cancel`, { method: "POST" });
    if (number === watched) show(session);
  } catch (error) { tell(error); }
}

// ---- the chart ----

const short = (number) => (number === null || number === undefined ? "–" : Number(number).toPrecision(3));

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function draw() {
  const losses = epochs.flatMap((one) => [one.train_loss, one.val_loss]).filter((loss) => Number.isFinite(loss));
  const parts = [];
  if (losses.length) {
    const high = Math.max(...losses);
    const low = Math.min(0, ...losses);
    const of = epochs[epochs.length - 1].of;
    const x = (epoch) => 50 + (580 * (epoch - 1)) / Math.max(1, of - 1);
    const y = (loss) => 235 - (220 * (loss - low)) / (high - low || 1);
    for (const level of [low, (low + high) / 2, high]) {
      parts.push(svg("line", { x1: 50, x2: 630, y1: y(level), y2: y(level) }));
      parts.push(svg("text", { x: 4, y: y(level) + 4 }, short(level)));
    }
    parts.push(svg("text", { x: 50, y: 254 }, "epoch 1"), svg("text", { x: 590, y: 254 }, `${of}`));
    for (const [kind, name] of [["train", "train_loss"], ["validation", "val_loss"]]) {
      const points = epochs.filter((one) => Number.isFinite(one[name])).map((one) => `${x(one.epoch)},${y(one[name])}`);
      parts.push(svg("polyline", { class: kind, points: points.join(" ") }));
    }
  }
  at("chart").replaceChildren(...parts);
}

// ---- beginnings ----

async function resumeWatching() {
  if (location.hash) return watch();
  const found = (await ask("/train/sessions?limit=20")).results;
  const running = found.find((session) => session.model.startsWith("forecasting/") && !session.ended_at);
  if (running && !location.hash) location.hash = `session=${running.training_session_id}`;
  return undefined;
}

const listAgain = () => choose("Looking for datasets …", async () => null);

at("key").value = sessionStorage.getItem("key") || "";
at("key").addEventListener("change", () => { sessionStorage.setItem("key", at("key").value); listAgain(); });
at("dataset").addEventListener("change", choseListed);
at("file").addEventListener("change", upload);
at("mend").addEventListener("click", mend);
at("form").addEventListener("submit", start);
at("cancel").addEventListener("click", cancel);
at("downloads").addEventListener("click", download);
window.addEventListener("hashchange", watch);
listAgain();
resumeWatching().catch(tell);

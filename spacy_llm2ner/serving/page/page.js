// The page to try pipelines on. Texts, labels and names come from anywhere: they become text nodes
// and properties, never markup.
import { decode, flatten } from "./decoding.js";
import { EXAMPLES, PALETTE } from "./examples.js";

const $ = (id) => document.getElementById(id);
// The least score that a threshold can be set to without another request, for spans of a head.
const FLOOR = 0.02;
// Answers of taggers and prompts are few, and all of them are fetched.
const LEAST_FLOOR = 0.001;

const state = {
  info: null, // the server's pipelines
  sent: null, // the text that was annotated, as characters
  answer: null, // its annotation
  thresholds: {}, // of the labels on the page
  off: new Set(), // labels that are switched off
  changed: false, // whether a threshold was moved
  newLabels: null, // labels of the user's own
  request: null, // the one under way
};

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// Where things are ---------------------------------------------------------------------------------

const pipeline = () => state.info.pipelines.find((one) => one.name === $("pipeline").value);
const component = () => pipeline().components.find((one) => one.name === $("component").value);
const found = () =>
  state.answer?.candidates?.find((one) => one.component === $("component").value) ?? null;

/** The decoding that the user sees, and whether another one needs no request. */
const decoding = () => ($("decoding-field").hidden ? null : $("decoding").value);
const isLive = (rule) => rule === "spans";

/** Offsets count characters, as in Python, and not units of UTF-16. */
const slice = (start, end) => state.sent.slice(start, end).join("");

function colour(label) {
  const known = state.info.colours[label.toUpperCase()];
  if (known) return known;
  const others = shownLabels().filter((one) => !state.info.colours[one.toUpperCase()]);
  return PALETTE[Math.max(0, others.indexOf(label)) % PALETTE.length];
}

const tinted = (element, label) => {
  element.style.setProperty(
    "--tinted",
    `color-mix(in srgb, ${colour(label)} var(--tint), transparent)`,
  );
  return element;
};

const shownLabels = () => {
  const labels = found()?.labels ?? component()?.labels;
  return labels ?? [...new Set((state.answer?.entities ?? []).map((entity) => entity.label))];
};

// Requests -------------------------------------------------------------------------------------------

async function send(path, body, signal) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (answer.ok) return answer;
  let error = `The server answers with status ${answer.status}.`;
  try {
    error = (await answer.json()).error || error;
  } catch {
    // no JSON: the status is all there is
  }
  if (answer.status === 429) error += ` (in about ${answer.headers.get("Retry-After")} s)`;
  throw new Error(error);
}

/** What the page asks for; thresholds are applied here, on the candidates. */
function requestBody(text) {
  const body = { text, pipeline: pipeline().name };
  const one = component();
  if (one) {
    const few = one.decodings.length && !one.decodings.includes("flat");
    body.candidates = few ? LEAST_FLOOR : FLOOR;
    if (decoding()) body.decoding = decoding();
    if (state.newLabels) body.new_labels = state.newLabels;
  }
  return body;
}

async function run() {
  const text = $("text").value;
  state.request?.abort();
  const request = new AbortController();
  state.request = request;
  $("view-text").setAttribute("aria-busy", "true");
  $("count").textContent = "Reading ...";
  try {
    const answer = await (await send("/v1/annotate", requestBody(text), request.signal)).json();
    if (state.request !== request) return;
    state.sent = Array.from(text);
    state.answer = answer;
    problem("");
    showLabels();
    show();
  } catch (error) {
    if (request.signal.aborted) return;
    problem(error.message);
    $("count").textContent = "";
  } finally {
    if (state.request === request) $("view-text").removeAttribute("aria-busy");
  }
}

function problem(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

// What is shown ----------------------------------------------------------------------------------------

/** The spans by the choices of the page, in the order of the text. */
function spans() {
  if (!state.answer) return [];
  const given = found();
  if (!given) return state.answer.entities.map((entity) => ({ ...entity }));
  const kept = given.spans.filter((span) => !state.off.has(span.label));
  return decode(kept, { ...given, decoding: decoding(), thresholds: state.thresholds });
}

function entities() {
  const given = found();
  const chosen = spans();
  if (!given || given.rule !== "spans" || !["all", "nested"].includes(decoding())) return chosen;
  return flatten(chosen, { ...given, thresholds: state.thresholds });
}

function show() {
  if (!state.answer) return;
  const chosen = spans();
  const n = chosen.length;
  $("count").textContent = n === 1 ? "1 span" : `${n} spans`;
  const view = document.querySelector("input[name=view]:checked").value;
  $("view-text").hidden = view !== "text";
  $("view-list").hidden = view !== "list";
  $("view-code").hidden = !["json", "displacy"].includes(view);
  hideTip();
  if (view === "text") showText(chosen);
  if (view === "list") showList(chosen);
  if (view === "json") showCode(JSON.stringify(asJson(chosen), null, 2), "entities.json");
  if (view === "displacy") showDisplacy(chosen);
  for (const row of $("labels").children) {
    row.querySelector(".n").textContent = chosen.filter((s) => s.label === row.dataset.label).length;
  }
}

function asJson(chosen) {
  const row = ({ start, end, label, score }) => ({
    text: slice(start, end),
    start,
    end,
    label,
    score,
  });
  const request = requestBody(state.sent.join(""));
  delete request.candidates;
  if (found()) {
    request.threshold = state.thresholds;
    if (state.off.size) request.labels = found().labels.filter((label) => !state.off.has(label));
  }
  return { request, entities: entities().map(row), spans: chosen.map(row) };
}

function showText(chosen) {
  const view = $("view-text");
  const sorted = [...chosen].sort((a, b) => a.start - b.start || b.end - a.end);
  const disjoint = sorted.every((span, i) => i === 0 || sorted[i - 1].end <= span.start);
  view.classList.toggle("lanes", !disjoint);
  view.replaceChildren(...(disjoint ? marks(sorted) : lanes(sorted)));
  if (!state.sent.length) view.append(make("p", { className: "soft", textContent: "No text." }));
}

/** Disjoint spans: each a box with its label. */
function marks(sorted) {
  const nodes = [];
  let at = 0;
  for (const span of sorted) {
    if (span.start > at) nodes.push(slice(at, span.start));
    const box = make("mark", { tabIndex: 0 }, slice(span.start, span.end));
    box.append(make("span", { className: "tag", textContent: span.label }));
    nodes.push(tinted(withTip(box, [span]), span.label));
    at = span.end;
  }
  if (at < state.sent.length) nodes.push(slice(at));
  return nodes;
}

/** Overlapping spans: a line under the words of each, and its label where it begins. */
function lanes(sorted) {
  const lane = new Map();
  const ends = [];
  for (const span of sorted) {
    let i = ends.findIndex((end) => end <= span.start);
    if (i < 0) i = ends.length;
    ends[i] = span.end;
    lane.set(span, i);
  }
  $("view-text").style.setProperty("--rows", ends.length);
  const cuts = new Set([0, state.sent.length]);
  for (const span of sorted) cuts.add(span.start).add(span.end);
  const places = [...cuts].sort((a, b) => a - b);
  const nodes = [];
  for (let i = 0; i + 1 < places.length; i++) {
    const [start, end] = [places[i], places[i + 1]];
    for (const span of sorted.filter((one) => one.start === start)) {
      const tag = make("span", { className: "tag", tabIndex: 0, textContent: span.label });
      nodes.push(tinted(withTip(tag, [span]), span.label));
    }
    const over = sorted.filter((span) => span.start <= start && span.end >= end);
    if (!over.length) {
      nodes.push(slice(start, end));
      continue;
    }
    const segment = make("span", { className: "seg" }, slice(start, end));
    const shadows = [];
    for (let row = 0; row < ends.length; row++) {
      const span = over.find((one) => lane.get(one) === row);
      shadows.push(`0 ${6 * row + 4}px 0 ${span ? colour(span.label) : "var(--card)"}`);
      shadows.push(`0 ${6 * row + 6}px 0 var(--card)`);
    }
    segment.style.boxShadow = shadows.join(", ");
    nodes.push(withTip(segment, over));
  }
  return nodes;
}

const digits = (score) => (score === null || score === undefined ? "no score" : score.toFixed(3));

function showList(chosen) {
  const body = make("tbody");
  for (const span of chosen) {
    const chip = tinted(make("span", { className: "chip", textContent: span.label }), span.label);
    body.append(
      make(
        "tr",
        {},
        make("td", { textContent: slice(span.start, span.end) }),
        make("td", {}, chip),
        make("td", { className: "number", textContent: digits(span.score) }),
        make("td", { className: "number", textContent: `${span.start}–${span.end}` }),
      ),
    );
  }
  const heads = ["span", "label", "score", "characters"].map((textContent) =>
    make("th", { textContent, scope: "col" }),
  );
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body);
  const none = make("p", { className: "soft", textContent: "No spans." });
  $("view-list").replaceChildren(
    chosen.length ? make("div", { className: "scroll" }, table) : none,
  );
}

function showCode(text, name) {
  $("code").textContent = text;
  const link = $("download");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
}

async function showDisplacy(chosen) {
  try {
    const marked = chosen.map(({ start, end, label }) => ({ start, end, label }));
    const body = { text: state.sent.join(""), spans: marked };
    const page = await (await send("/v1/displacy", body)).text();
    const still = document.querySelector("input[name=view]:checked").value === "displacy";
    if (still) showCode(page, "entities.html");
  } catch (error) {
    problem(error.message);
  }
}

// Scores on hover, on focus and on touch ---------------------------------------------------------------

function withTip(element, over) {
  const said = over.map((span) => `${span.label}: ${digits(span.score)}`);
  if (element.tabIndex === 0) {
    element.setAttribute("aria-label", `${slice(over[0].start, over[0].end)}, ${said.join(", ")}`);
    element.setAttribute("role", "note");
  }
  const open = () => showTip(element, over);
  element.addEventListener("pointerenter", open);
  element.addEventListener("pointerdown", open);
  element.addEventListener("focus", open);
  element.addEventListener("pointerleave", hideTip);
  element.addEventListener("blur", hideTip);
  return element;
}

function showTip(element, over) {
  const tip = $("tip");
  tip.replaceChildren(
    ...over.map((span) => {
      const words = slice(span.start, span.end);
      const cut = words.length > 60 ? `${words.slice(0, 60)} ...` : words;
      return make("div", { textContent: `${span.label} ${digits(span.score)}  ${cut}` });
    }),
  );
  tip.hidden = false;
  const box = element.getClientRects()[0];
  const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
  const above = box.top - tip.offsetHeight - 8;
  tip.style.top = `${(above > 0 ? above : box.bottom + 12) + window.scrollY}px`;
}

function hideTip() {
  $("tip").hidden = true;
}

// Labels, thresholds and decoding ------------------------------------------------------------------------

/** The thresholds of the pipeline, or those that the user has moved. */
function showLabels() {
  const given = found();
  const labels = given?.labels ?? component()?.labels ?? [];
  const own = given?.thresholds ?? component()?.thresholds ?? {};
  for (const label of labels) {
    if (!state.changed || state.thresholds[label] === undefined) {
      state.thresholds[label] = own[label];
    }
  }
  state.thresholds = Object.fromEntries(labels.map((label) => [label, state.thresholds[label]]));
  state.off = new Set([...state.off].filter((label) => labels.includes(label)));
  const same =
    labels.length === $("labels").children.length &&
    [...$("labels").children].every((row, i) => row.dataset.label === labels[i]);
  if (!same) $("labels").replaceChildren(...labels.map(labelRow));
  for (const row of $("labels").children) {
    const value = state.thresholds[row.dataset.label];
    row.querySelector("input[type=range]").value = value;
    row.querySelector("output").textContent = value.toFixed(2);
  }
  $("left-out").hidden = !given?.left_out;
  $("left-out").textContent = `${given?.left_out} spans with the lowest scores were left out.`;
}

function labelRow(label) {
  const chip = tinted(make("span", { className: "chip", textContent: label }), label);
  const pick = make("input", { type: "checkbox", checked: !state.off.has(label) });
  const count = make("span", { className: "n soft", textContent: "" });
  const few = (found()?.rule ?? "spans") === "given";
  const range = make("input", { type: "range", min: few ? 0 : FLOOR, max: 1, step: 0.01 });
  range.setAttribute("aria-label", `threshold of ${label}`);
  const number = make("output");
  const row = make("li", {}, make("label", { className: "pick" }, pick, chip, count), number, range);
  row.dataset.label = label;
  row.classList.toggle("off", !pick.checked);
  pick.addEventListener("change", () => {
    if (pick.checked) state.off.delete(label);
    else state.off.add(label);
    row.classList.toggle("off", !pick.checked);
    show();
  });
  range.addEventListener("input", () => {
    state.thresholds[label] = Number(range.value);
    state.changed = true;
    number.textContent = state.thresholds[label].toFixed(2);
    show();
  });
  return row;
}

function showComponent() {
  const one = component();
  state.thresholds = {};
  state.changed = false;
  state.off = new Set();
  $("decoding-field").hidden = !one?.decodings.length;
  $("decoding").replaceChildren(
    ...(one?.decodings ?? []).map((value) => make("option", { value, textContent: value })),
  );
  if (one?.decoding) $("decoding").value = one.decoding;
  $("choices").hidden = !one;
  $("new-labels-field").hidden = !one?.new_labels;
  if (one?.new_labels) {
    $("new-labels-help").textContent =
      one.new_labels === "names"
        ? "Each with a few example names, separated by commas; without names, the label's own meaning counts."
        : "Each with a description for the prompt, if you like.";
    if (!$("new-labels").children.length) $("new-labels").append(newLabelRow(), newLabelRow());
  }
  $("labels").replaceChildren();
  if (one) showLabels();
}

function showPipeline() {
  const one = pipeline();
  state.answer = null;
  state.newLabels = null;
  $("own-labels").hidden = true;
  $("component").replaceChildren(
    ...one.components.map(({ name }) => make("option", { value: name, textContent: name })),
  );
  $("component-field").hidden = one.components.length < 2;
  $("about").textContent = [one.llms.join(", "), one.components.map((c) => c.factory).join(", ")]
    .filter(Boolean)
    .join(" · ");
  showComponent();
}

// Labels of the user's own -----------------------------------------------------------------------------------

function newLabelRow() {
  const names = component().new_labels === "names";
  const label = make("input", { type: "text", className: "label", placeholder: "Label", maxLength: 200 });
  label.setAttribute("aria-label", "Label");
  const given = make("input", {
    type: "text",
    className: "names",
    placeholder: names ? "Names, separated by commas" : "Description",
  });
  given.setAttribute("aria-label", given.placeholder);
  const remove = make("button", { type: "button", className: "quiet", textContent: "Remove" });
  const row = make("li", {}, label, remove, given);
  remove.addEventListener("click", () => row.remove());
  for (const input of [label, given]) {
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") tryLabels();
    });
  }
  return row;
}

function tryLabels() {
  const labels = {};
  for (const row of $("new-labels").children) {
    const label = row.querySelector(".label").value.trim();
    const given = row.querySelector(".names").value;
    if (!label) continue;
    labels[label] =
      component().new_labels === "names"
        ? given.split(",").map((name) => name.trim()).filter(Boolean)
        : given.trim();
  }
  if (!Object.keys(labels).length) {
    problem("Type a label first.");
    return;
  }
  state.newLabels = labels;
  state.changed = false;
  $("own-labels").hidden = false;
  run();
}

// Text -----------------------------------------------------------------------------------------------------------

async function openFile(file) {
  if (!file) return;
  const most = state.info.limits.max_chars;
  if (file.size > 4 * most) {
    problem(`${file.name} is too large: the server takes ${most} characters.`);
    return;
  }
  $("text").value = (await file.text()).slice(0, most + 1);
  run();
}

function dropping() {
  const card = $("input");
  const carriesFile = (event) => [...event.dataTransfer.types].includes("Files");
  // Anywhere on the page: a file that misses the card must not replace the page.
  document.addEventListener("dragover", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    card.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) card.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    card.classList.remove("over");
    if (!carriesFile(event)) return;
    event.preventDefault();
    openFile(event.dataTransfer.files[0]);
  });
}

async function begin() {
  try {
    state.info = await (await fetch("/v1/pipelines")).json();
  } catch (error) {
    problem(`The server does not answer: ${error.message}`);
    return;
  }
  for (const { name } of state.info.pipelines) {
    $("pipeline").append(make("option", { value: name, textContent: name }));
  }
  EXAMPLES.forEach(({ title }, index) => {
    $("example").append(make("option", { value: index, textContent: title }));
  });
  $("pipeline").addEventListener("change", () => {
    showPipeline();
    if ($("text").value) run();
  });
  $("component").addEventListener("change", () => {
    showComponent();
    show();
  });
  $("decoding").addEventListener("change", () => {
    const given = found();
    if (!given) return;
    if (isLive(given.rule)) show();
    else run();
  });
  $("run").addEventListener("click", run);
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      run();
    }
  });
  $("example").addEventListener("change", (event) => {
    if (event.target.value === "") return;
    $("text").value = EXAMPLES[event.target.value].text;
    event.target.value = "";
    run();
  });
  $("file").addEventListener("change", (event) => {
    openFile(event.target.files[0]);
    event.target.value = "";
  });
  $("reset").addEventListener("click", () => {
    state.changed = false;
    state.off = new Set();
    $("labels").replaceChildren();
    const own = component()?.decoding;
    const other = own && own !== $("decoding").value;
    if (own) $("decoding").value = own;
    showLabels();
    if (other && found() && !isLive(found().rule)) run();
    else show();
  });
  $("add-label").addEventListener("click", () => {
    $("new-labels").append(newLabelRow());
    $("new-labels").lastChild.querySelector(".label").focus();
  });
  $("try-labels").addEventListener("click", tryLabels);
  $("own-labels").addEventListener("click", () => {
    state.newLabels = null;
    state.changed = false;
    $("own-labels").hidden = true;
    run();
  });
  for (const input of document.querySelectorAll("input[name=view]")) {
    input.addEventListener("change", show);
  }
  $("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText($("code").textContent);
    $("copy").textContent = "Copied";
    setTimeout(() => ($("copy").textContent = "Copy"), 1500);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideTip();
  });
  dropping();
  showPipeline();
  document.documentElement.dataset.ready = "true";
}

begin();

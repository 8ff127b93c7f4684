// Shows the texts that match the chosen kind, label, pair of labels and words, some at a time.
// Without it the texts in the page are all shown.
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const STEP = 50;
  const list = document.getElementById("articles");
  const more = document.getElementById("more");
  const pairButton = document.getElementById("pair");
  const count = form.querySelector("output");
  const changed = ["fixed", "broken"];
  const harmless = ["correct", "unjudged", ...changed];
  const split = (keys) => keys.split(" ").filter(Boolean).map((key) => key.split("."));
  const plain = (words) => words.replace(/\s+/g, " ").toLowerCase();

  // The text itself, without the labels that stand in it.
  const textOf = (element) => {
    const copy = element.querySelector(".body").cloneNode(true);
    copy.querySelectorAll(".tag, .start, .room").forEach((label) => label.remove());
    return copy.textContent;
  };
  const texts = [...list.querySelectorAll("article")].map((element) => ({
    number: element.id.slice(1),
    marks: split(element.dataset.marks),
    element,
    words: null,
  }));
  const rest = document.getElementById("rest");
  if (rest) {
    for (const [number, keys, text, html] of JSON.parse(rest.textContent)) {
      texts.push({ number: String(number), marks: split(keys), text, html, element: null, words: null });
    }
  }
  const wordsOf = (text) => (text.words ??= plain(text.text ?? textOf(text.element)));
  const elementOf = (text) => {
    if (text.element === null) {
      const template = document.createElement("template");
      template.innerHTML = text.html;
      text.element = template.content.querySelector("article");
    }
    return text.element;
  };

  let hits = texts;
  let shown = 0;
  let pair = null; // [gold, predicted], of a cell of the table of confusions
  let only = null; // the number of a text that a link leads to

  const show = (until) => {
    const before = shown;
    shown = Math.min(until, hits.length);
    list.append(...hits.slice(before, shown).map(elementOf));
    more.hidden = shown === hits.length;
    const left = hits.length - shown;
    more.textContent = `Show ${Math.min(STEP, left)} more of ${left.toLocaleString("en")}`;
  };

  const apply = () => {
    const kind = form.elements.kind ? form.elements.kind.value : "";
    const label = form.elements.label.value;
    const words = plain(form.elements.words.value.trim());
    const isWanted = ([found, predicted, gold]) =>
      (kind === "" ? !changed.includes(found) : found === kind || (kind === "wrong" && !harmless.includes(found))) &&
      (label === "" || predicted === label || gold === label) &&
      (pair === null || (gold === pair[0] && predicted === pair[1]));
    const isFree = kind === "" && label === "" && pair === null;
    hits = texts.filter(
      (text) =>
        (only === null || text.number === only) &&
        (isFree || text.marks.some(isWanted)) &&
        (words === "" || wordsOf(text).includes(words)),
    );
    list.replaceChildren();
    shown = 0;
    show(STEP);
    count.textContent = `${hits.length.toLocaleString("en")} of ${texts.length.toLocaleString("en")} texts`;
    pairButton.hidden = pair === null && only === null;
  };

  const choose = (name, value) => {
    for (const control of form.querySelectorAll(`[name="${name}"]`)) {
      if (control.type === "radio") control.checked = control.value === value;
      else control.value = value;
    }
  };
  const reset = () => {
    ["kind", "label", "words"].forEach((name) => choose(name, ""));
    pair = only = null;
  };
  const bringUp = () => {
    const heading = document.getElementById("texts");
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    heading.scrollIntoView();
  };

  // Cells and counts elsewhere in the page lead to the texts that they count.
  for (const cell of document.querySelectorAll("[data-show]")) {
    if (cell.textContent.trim() === "0") continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.append(...cell.childNodes);
    if (cell.dataset.says) button.setAttribute("aria-label", cell.dataset.says);
    cell.append(button);
    button.addEventListener("click", () => {
      const { kind = "", label = "", pair: labels } = JSON.parse(cell.dataset.show);
      reset();
      choose("kind", kind);
      choose("label", label);
      if (labels) {
        pair = labels;
        pairButton.textContent = `${cell.dataset.says} ×`;
      }
      apply();
      bringUp();
    });
  }
  pairButton.addEventListener("click", () => {
    pair = only = null;
    apply();
    form.elements.words.focus();
  });
  more.addEventListener("click", () => {
    const first = shown;
    show(shown + STEP);
    elementOf(hits[first]).querySelector("h3 a").focus();
  });
  const follow = () => {
    const number = /^#t(\d+)$/.exec(location.hash)?.[1];
    const at = hits.findIndex((text) => text.number === number);
    if (number === undefined || !texts.some((text) => text.number === number)) return;
    if (at < 0 || at >= shown) {
      reset();
      only = number;
      pairButton.textContent = `Text ${number} ×`;
      apply();
    }
    document.getElementById(`t${number}`).scrollIntoView();
  };

  form.addEventListener("input", () => {
    only = null;
    apply();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", follow);
  form.hidden = false;
  apply();
  follow();
})();

// Shows the texts that match the chosen kind, label and words. Without it all texts are shown.
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const count = form.querySelector("output");
  const texts = [...document.querySelectorAll("article")].map((element) => ({
    element,
    marks: element.dataset.marks.split(" ").filter(Boolean).map((mark) => mark.split(".")),
    words: null,
  }));

  // The text itself, without the labels that stand in it; only made when somebody searches.
  const wordsOf = (text) => {
    if (text.words === null) {
      const copy = text.element.querySelector(".body").cloneNode(true);
      copy.querySelectorAll(".tag, .start, .room").forEach((label) => label.remove());
      text.words = copy.textContent.replace(/\s+/g, " ").toLowerCase();
    }
    return text.words;
  };

  const apply = () => {
    const kind = form.elements.kind ? form.elements.kind.value : "";
    const label = form.elements.label ? form.elements.label.value : "";
    const words = form.elements.words.value.trim().replace(/\s+/g, " ").toLowerCase();
    const isWanted = ([found, ...labels]) =>
      (kind === "" || found === kind || (kind === "wrong" && !["correct", "unjudged"].includes(found))) &&
      (label === "" || labels.includes(label));
    let shown = 0;
    for (const text of texts) {
      const hit =
        (kind + label === "" || text.marks.some(isWanted)) &&
        (words === "" || wordsOf(text).includes(words));
      text.element.hidden = !hit;
      shown += hit;
    }
    count.textContent = `${shown} of ${texts.length} texts`;
  };

  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
})();

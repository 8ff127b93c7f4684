// Candidates -> spans, as spacy_llm2ner.decoding.spans does: the same gains, the same rules for ties.
// A candidate has token_start, token_end, label and compared; labels are in the component's order.

const SCORE_CLIP = 2 ** -25;
const THRESHOLD_CLIP = 1e-6;
const STEPS = 2 ** 30;

/** log(p / (1 - p)), with p clipped to [low, 1 - low]. */
function logOdds(p, low) {
  const clipped = Math.min(Math.max(p, low), 1 - low);
  return Math.log(clipped) - Math.log1p(-clipped);
}

/** The weight of a candidate: its gain, then fewer spans, then more tokens, in one integer. */
function weight(span, threshold) {
  const excess =
    logOdds(Math.fround(span.compared), SCORE_CLIP) -
    logOdds(Math.fround(threshold), THRESHOLD_CLIP);
  const steps = BigInt(Math.max(Math.round(excess * STEPS), 1));
  return (steps << 64n) - (1n << 32n) + BigInt(span.token_end - span.token_start);
}

const reaches = (span, threshold) => Math.fround(span.compared) >= Math.fround(threshold);

/**
 * Choose spans.
 * candidates: the candidates of one component, in the order of the server.
 * options: { rule, decoding, labels, thresholds }: thresholds has a number for each label.
 */
export function decode(candidates, { rule, decoding, labels, thresholds }) {
  const number = new Map(labels.map((label, index) => [label, index]));
  const own = (span) => thresholds[span.label];
  const order = (span) => number.get(span.label);
  const reached = candidates.filter((span) => reaches(span, own(span)));
  if (rule === "given") return reached;
  if (rule === "label") return flat(reached, own, order);
  if (rule === "least") {
    const least = Math.min(...labels.map((label) => thresholds[label]));
    const mentions = candidates.filter((span) => reaches(span, least));
    return flat(mentions, () => least, () => 0).filter((span) => reaches(span, own(span)));
  }
  if (decoding === "greedy") return greedy(reached, order);
  if (decoding === "flat") return flat(reached, own, order);
  if (decoding === "nested") return nested(reached, own);
  return reached;
}

/** The disjoint spans among decoded ones, which become doc.ents. */
export function flatten(spans, { labels, thresholds }) {
  const number = new Map(labels.map((label, index) => [label, index]));
  return flat(spans, (span) => thresholds[span.label], (span) => number.get(span.label));
}

function byText(order) {
  return (a, b) =>
    a.token_start - b.token_start || b.token_end - a.token_end || order(a) - order(b);
}

/** The best score first, then the next best that is disjoint from all. */
function greedy(spans, order) {
  const length = (span) => span.token_end - span.token_start;
  const best = [...spans].sort(
    (a, b) =>
      Math.fround(b.compared) - Math.fround(a.compared) ||
      length(b) - length(a) ||
      a.token_start - b.token_start ||
      order(a) - order(b),
  );
  const taken = new Set();
  const kept = new Set();
  for (const span of best) {
    let free = true;
    for (let i = span.token_start; i < span.token_end; i++) free &&= !taken.has(i);
    if (!free) continue;
    for (let i = span.token_start; i < span.token_end; i++) taken.add(i);
    kept.add(span);
  }
  return spans.filter((span) => kept.has(span));
}

/** The disjoint set with the largest total gain: weighted interval scheduling. */
function flat(spans, threshold, order) {
  const sorted = [...spans].sort(byText(order));
  const n = sorted.length;
  const best = new Array(n + 1).fill(0n);
  const take = new Array(n).fill(false);
  const after = sorted.map((span) => {
    let low = 0;
    let high = n;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle].token_start < span.token_end) low = middle + 1;
      else high = middle;
    }
    return low;
  });
  for (let i = n - 1; i >= 0; i--) {
    const withIt = weight(sorted[i], threshold(sorted[i])) + best[after[i]];
    take[i] = withIt >= best[i + 1];
    best[i] = take[i] ? withIt : best[i + 1];
  }
  const kept = new Set();
  for (let i = 0; i < n; ) {
    if (take[i]) {
      kept.add(sorted[i]);
      i = after[i];
    } else i += 1;
  }
  return spans.filter((span) => kept.has(span));
}

/** The set without crossing spans with the largest total gain, cluster by cluster. */
function nested(spans, threshold) {
  const sorted = [...spans].sort(
    (a, b) => a.token_start - b.token_start || a.token_end - b.token_end,
  );
  const kept = new Set();
  for (let low = 0; low < sorted.length; ) {
    let high = low + 1;
    let reach = sorted[low].token_end;
    while (high < sorted.length && sorted[high].token_start < reach) {
      reach = Math.max(reach, sorted[high].token_end);
      high += 1;
    }
    const cluster = sorted.slice(low, high);
    const worth = new Map(); // labels of one span never exclude each other
    for (const span of cluster) {
      const key = `${span.token_start},${span.token_end}`;
      worth.set(key, (worth.get(key) ?? 0n) + weight(span, threshold(span)));
    }
    const chosen = nonCrossing(worth);
    for (const span of cluster) {
      if (chosen.has(`${span.token_start},${span.token_end}`)) kept.add(span);
    }
    low = high;
  }
  return spans.filter((span) => kept.has(span));
}

/** The heaviest subset without crossings; see `_non_crossing` in decoding/spans.py. */
function nonCrossing(worth) {
  const lengthsAt = new Map();
  let low = Infinity;
  let high = 0;
  let width = 0;
  for (const key of worth.keys()) {
    const [start, end] = key.split(",").map(Number);
    if (!lengthsAt.has(start)) lengthsAt.set(start, []);
    lengthsAt.get(start).push(end - start);
    low = Math.min(low, start);
    high = Math.max(high, end);
    width = Math.max(width, end - start);
  }
  for (const lengths of lengthsAt.values()) lengths.sort((a, b) => a - b);
  const inside = new Map([[high, new Array(width + 1).fill(0n)]]);
  const split = new Map();
  const chain = new Map([[high, 0n]]);
  const link = new Map();
  for (let s = high - 1; s >= low; s--) {
    const lengths = lengthsAt.get(s) ?? [];
    const row = [0n, ...inside.get(s + 1).slice(0, -1)];
    const won = new Array(width + 1).fill(0);
    if (lengths.length) {
      for (let k = lengths[0]; k <= width; k++) {
        for (const n of lengths) {
          if (n >= k) break;
          const rest = inside.get(s + n);
          if (!rest) break; // behind the last token
          const total = row[n] + rest[k - n];
          if (total >= row[k]) {
            row[k] = total;
            won[k] = n;
          }
        }
        row[k] += worth.get(`${s},${s + k}`) ?? 0n;
      }
    }
    inside.set(s, row);
    split.set(s, won);
    let best = [chain.get(s + 1), 0];
    for (const n of lengths) {
      const total = row[n] + chain.get(s + n);
      if (total > best[0] || (total === best[0] && n > best[1])) best = [total, n];
    }
    chain.set(s, best[0]);
    link.set(s, best[1]);
  }
  const kept = new Set();
  const todo = [];
  for (let s = low; s < high; s += link.get(s) || 1) {
    if (link.get(s)) todo.push([s, s + link.get(s)]);
  }
  while (todo.length) {
    const [s, e] = todo.pop();
    if (s === e || s >= high) continue;
    if (worth.has(`${s},${e}`)) kept.add(`${s},${e}`);
    const n = split.get(s)[e - s];
    if (n) todo.push([s, s + n], [s + n, e]);
    else todo.push([s + 1, e]);
  }
  return kept;
}

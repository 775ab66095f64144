// What a page does beyond what is printed. Without it nothing is lacking.
"use strict";
(() => {
  const all = (what, root = document) => [...root.querySelectorAll(what)];
  const make = (tag, set = {}) => Object.assign(document.createElement(tag), set);
  const button = (text, act) => {
    const made = make("button", { type: "button", textContent: text });
    made.addEventListener("click", act);
    return made;
  };
  const main = document.querySelector("main") ?? document.body;
  const told = make("p", { className: "told", role: "status" });
  const tell = (text) => { told.textContent = text; };
  main.append(told);
  document.head.append(make("style", { textContent: `
.told { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th button { all: unset; cursor: pointer; } th button::after { content: "\u00a0↕"; opacity: .7; }
th[aria-sort=ascending] button::after { content: "\u00a0↑"; } th[aria-sort=descending] button::after { content: "\u00a0↓"; }
th button:focus-visible, .seed button:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
.seed button { all: unset; cursor: pointer; display: inline-flex; align-items: center; gap: 6px; }
.seed:has([aria-pressed=true]) { border-color: var(--blue); box-shadow: 0 0 0 1px var(--blue); font-weight: 600; }
svg .of-other-seed { opacity: .12; } tr.of-this-seed > * { background: var(--wash); } svg [data-seed] { cursor: pointer; }
.commanded { position: relative; } .commanded pre { padding-right: 84px; }
.commanded button { position: absolute; right: 6px; top: 6px; font: inherit; font-size: 13px; color: inherit; background: var(--page); border: 1px solid var(--soft); border-radius: 6px; padding: 3px 9px; }
.one-seed { display: block; font-size: 14px; color: var(--soft); margin: 12px 0; } .one-seed select { font: inherit; color: var(--ink); background: var(--page); border: 1px solid var(--soft); border-radius: 6px; padding: 2px 6px; }
.pointed { position: fixed; z-index: 9; pointer-events: none; max-width: 60vw; padding: 2px 8px; border-radius: 4px; font-size: 13px; color: var(--page); background: var(--ink); }
@media print { .commanded button, th button::after { display: none; } }` }));

  addEventListener("beforeprint", () => all("details").forEach((part) => { part.open = true; }));

  // Sort a table by a heading: up, down, as it was; what has no value stays last.
  const plain = (cell) => (cell?.textContent ?? "").trim();
  const first = /^[-+−]?\d[\d,]*\.?\d*(e[-+]?\d+)?/i;
  const valueOf = (cell) => {
    if (cell?.dataset.value !== undefined) return Number(cell.dataset.value);
    const found = first.exec(plain(cell).replace(/^\[/, ""));
    return found ? Number(found[0].replaceAll(",", "").replace("−", "-")) : null;
  };
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0], written = [...body.rows], heads = [...(table.tHead?.rows[0]?.cells ?? [])];
    if (written.length < 2) continue;
    heads.forEach((head, place) => {
      const words = head.classList.contains("word");
      const key = (row) => (words ? plain(row.cells[place]).replace(/^[–-]$/, "") || null : valueOf(row.cells[place]));
      const sort = button("", () => {
        const way = { ascending: -1, descending: 0 }[head.getAttribute("aria-sort")] ?? 1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (way) head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
        const keys = new Map(written.map((row) => [row, key(row)]));
        const order = (a, b) => {
          const [one, other] = [keys.get(a), keys.get(b)];
          if (one === null || other === null) return (one === null) - (other === null);
          return way * (words ? one.localeCompare(other, "en", { numeric: true }) : one - other);
        };
        body.append(...(way ? [...written].sort(order) : written));
      });
      sort.append(...head.childNodes);
      head.append(sort);
    });
  }

  // Bring one seed out in all figures and tables: by its chip, or by a line or point of it.
  for (const mark of all("svg [id*='seed=']")) mark.dataset.seed = mark.id.slice(mark.id.lastIndexOf("seed=") + 5);
  const marks = all("svg [data-seed]"), rows = all("tr[data-seed]");
  const MOST_CHIPS = 16; // more would fill the first screen
  let chosen = null;
  const bring = (seed) => {
    chosen = seed === chosen ? null : seed;
    marks.forEach((mark) => mark.classList.toggle("of-other-seed", chosen !== null && mark.dataset.seed !== chosen));
    rows.forEach((row) => row.classList.toggle("of-this-seed", row.dataset.seed === chosen));
    all(".seed button").forEach((chip) => chip.setAttribute("aria-pressed", String(chip.parentNode.dataset.seed === chosen)));
    tell(chosen === null ? "All seeds are shown alike." : `Seed ${chosen} is brought out.`);
  };
  const seeds = [...new Set(marks.map((mark) => mark.dataset.seed))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const before = marks[0]?.closest("figure") ?? marks[0]?.closest("svg");
  if (seeds.length > MOST_CHIPS && !all(".seeds .seed").length) {
    const choice = make("select");
    for (const seed of ["", ...seeds]) choice.append(make("option", { value: seed, textContent: seed || "all alike" }));
    choice.addEventListener("change", () => { chosen = null; bring(choice.value || null); });
    addEventListener("keydown", (event) => { if (event.key === "Escape") choice.value = ""; });
    const label = make("label", { className: "one-seed", textContent: "Seed to bring out: " });
    label.append(choice);
    before.before(label);
  } else if (seeds.length > 1 && !all(".seeds .seed").length) {
    const list = make("ul", { className: "seeds", ariaLabel: "Seeds" });
    for (const seed of seeds) {
      const chip = make("li", { className: "seed", textContent: `seed ${seed}` });
      chip.dataset.seed = seed;
      list.append(chip);
    }
    before.before(list);
  }
  for (const chip of seeds.length ? all(".seeds .seed") : []) {
    const press = button("", () => bring(chip.dataset.seed));
    press.setAttribute("aria-pressed", "false");
    press.append(...chip.childNodes);
    chip.append(press);
  }
  for (const mark of marks) {
    mark.addEventListener("click", (event) => {
      event.preventDefault();
      bring(mark.dataset.seed);
      all(".one-seed select").forEach((choice) => { choice.value = chosen ?? ""; });
    });
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape" && chosen !== null) bring(chosen); });

  // Show the value under the pointer; on a figure that has the focus, the arrow keys go from one to the next.
  const pointed = make("div", { className: "pointed", hidden: true, ariaHidden: "true" });
  main.append(pointed);
  for (const svg of all("svg[data-points]")) {
    const points = JSON.parse(svg.dataset.points), box = svg.viewBox.baseVal, panel = svg.closest(".panel") ?? svg;
    const show = (point) => {
      const frame = svg.getBoundingClientRect();
      pointed.hidden = !point;
      if (!point) return;
      pointed.textContent = point[2];
      pointed.style.left = `${Math.min(frame.left + point[0] * frame.width / box.width + 10, innerWidth * 0.6)}px`;
      pointed.style.top = `${Math.max(4, frame.top + point[1] * frame.height / box.height - 30)}px`;
    };
    panel.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect(), scale = frame.width / box.width;
      let best = 18 ** 2, near = null;
      for (const point of points) {
        const far = (frame.left + point[0] * scale - event.clientX) ** 2 + (frame.top + point[1] * scale - event.clientY) ** 2;
        if (far < best) [best, near] = [far, point];
      }
      show(near);
    });
    panel.addEventListener("pointerleave", () => show(null));
    panel.addEventListener("blur", () => show(null));
    let at = -1;
    panel.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step || !points.length) return;
      event.preventDefault();
      at = (at + step + points.length) % points.length;
      show(points[at]);
      tell(points[at][2]);
    });
  }

  // A link to a part that is folded opens it.
  const unfold = () => {
    const part = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!part) return;
    for (let fold = part.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    if (part.tagName !== "FIGURE") part.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  if (location.hash) unfold();

  // Copy a command; where a page has no clipboard, the old way or the keyboard does it.
  const copy = async (pre) => {
    try {
      await navigator.clipboard.writeText(pre.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(pre);
      return document.execCommand("copy");
    }
  };
  for (const pre of all("pre.command")) {
    const box = make("div", { className: "commanded" });
    const press = button("Copy", async () => {
      const done = await copy(pre);
      press.textContent = done ? "Copied" : "Press Ctrl-C";
      tell(done ? "The command is copied." : "The command is selected: press Ctrl-C.");
      setTimeout(() => { press.textContent = "Copy"; }, 2000);
    });
    pre.replaceWith(box);
    box.append(pre, press);
  }
})();

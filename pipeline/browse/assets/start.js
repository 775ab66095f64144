// Tabs and filters, and newer contents where the page is served.
const TABS = { studies: ["Studies", studies], runs: ["Runs", runs], cells: ["Cells", cells], groups: ["Groups", groups], curves: ["Curves", curves], compare: ["Compare", compare] };
const KEPT = ["tab", "query", "study", "stage", "state", "group", "quantity", "curve", "first", "second"];

function select(label, name, choices) {
  const node = make("select", {}, ...choices.map(([value, text]) => make("option", { value, selected: value === state[name] }, text)));
  node.dataset.focus = `select ${name}`;
  node.addEventListener("change", () => { state[name] = node.value; state.pages = {}; render(); });
  return make("label", {}, `${label} `, node);
}

function filters() {
  const form = document.getElementById("filters"), input = make("input", { type: "search", value: state.query, size: 30, placeholder: "model=mlp test_accuracy>0.8" });
  input.setAttribute("aria-describedby", "search-help");
  input.dataset.focus = "search";
  let waiting = 0;
  input.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => { state.query = input.value; state.pages = {}; render(); }, 120); });
  form.onsubmit = (event) => { event.preventDefault(); state.query = input.value; render(); };
  const named = (values) => values.map((value) => [value, value]);
  const words = data.rows.names.map((name, place) => [name, [...new Set(data.rows.words[place])].filter((value) => value >= 0)]).filter(([, values]) => values.length > 1 && values.length <= 40);
  const more_ = words.map(([name, values]) => {
    const node = make("select", {}, make("option", { value: "" }, "any"), ...values.map((value) => data.rows.labels[value]).sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
      .map((value) => make("option", { value, selected: state.words[name] === value }, value)));
    node.dataset.focus = `word ${name}`;
    node.addEventListener("change", () => { state.words[name] = node.value; state.pages = {}; render(); });
    return make("label", {}, `${name} `, node);
  });
  const active = KEPT.slice(1, 6).some((name) => state[name]) || Object.values(state.words).some(Boolean);
  const clear = make("button", { type: "button", disabled: !active }, "Clear filters");
  clear.dataset.focus = "clear";
  clear.addEventListener("click", () => { Object.assign(state, { ...CLEAR, words: {}, pages: {} }); filters(); render(); });
  const others = make("details", { open: Boolean(state.more) || Object.values(state.words).some(Boolean) }, make("summary", {}, "More filters"), make("div", { className: "boxes" }, ...more_));
  others.addEventListener("toggle", () => { state.more = others.open; });
  form.replaceChildren(make("label", {}, "Search ", input), select("Study", "study", [["", "all"], ...named(data.rows.studies), ["-", "of no study"]]),
    select("Stage", "stage", [["", "all"], ...named(data.stages)]), select("State", "state", [["", "all"], ...named(data.states)]), clear, more_.length ? others : "",
    make("span", { id: "search-help", className: "aside" }, "Words that a row must hold, such as model=mlp, and bounds of a number, such as test_accuracy>0.8"));
}

function tabs() {
  const list = document.getElementById("tabs"), names = Object.keys(TABS);
  list.replaceChildren(...names.map((name, place) => {
    const button = make("button", { type: "button", role: "tab", id: `tab-${name}`, ariaSelected: String(state.tab === name), tabIndex: state.tab === name ? 0 : -1 }, TABS[name][0]);
    button.setAttribute("aria-controls", "view");
    button.dataset.focus = `tab ${name}`;
    button.addEventListener("click", () => { state.tab = name; render(); });
    button.addEventListener("keydown", (event) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: names.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      state.tab = names[(to + names.length) % names.length];
      render();
      document.getElementById(`tab-${state.tab}`).focus();
    });
    return button;
  }));
  document.getElementById("view").setAttribute("aria-labelledby", `tab-${state.tab}`);
}

const CLEAR = { query: "", study: "", stage: "", state: "", group: "", words: {}, pages: {} };
const nothing = () => make("p", {}, count() ? "No artifact fits these filters. " : "Nothing has been made here yet.",
  count() ? go("Clear filters", () => ({ ...CLEAR, words: {}, pages: {} })) : "");

function render(moved = false) {
  const focus = document.activeElement?.dataset?.focus, scrolled = document.querySelector("#view .scroll")?.scrollLeft ?? 0;
  if (moved) { state.pages = {}; filters(); }
  tabs();
  const rows = filtered(), group = state.group && groupNamed(state.group);
  document.getElementById("view").replaceChildren(group ? make("p", { className: "soft" }, `Only the group ${said(Object.entries(group.words)) || "of all"}. `,
    go("Show all", () => ({ group: "" }))) : "", rows.length || state.tab === "compare" ? TABS[state.tab][1](rows) : nothing());
  document.getElementById("filters").hidden = state.tab === "compare"; // it takes any two
  const kept = new URLSearchParams(KEPT.filter((name) => state[name]).map((name) => [name, state[name]]));
  for (const [name, value] of Object.entries(state.words)) if (value) kept.append("word", `${name}=${value}`);
  try { history.replaceState(null, "", `#${kept}`); } catch { /* some browsers keep addresses of files as they are */ }
  tell(state.tab === "compare" ? "" : `${rows.length.toLocaleString("en-US")} of ${count().toLocaleString("en-US")} artifacts`);
  const clear = document.querySelector("[data-focus=clear]");
  if (clear) clear.disabled = !(KEPT.slice(1, 6).some((name) => state[name]) || Object.values(state.words).some(Boolean));
  const box = document.querySelector("#view .scroll");
  if (box && !moved) box.scrollLeft = scrolled;
  if (focus && document.activeElement?.dataset?.focus !== focus) document.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  if (moved && !focus) document.getElementById("view").focus({ preventScroll: true });
}

function facts(problem = "") {
  const states = data.states.map((name, place) => [name, data.rows.state.filter((one) => one === place).length]).filter(([, number]) => number);
  document.getElementById("counts").textContent = `: ${states.map(([name, number]) => `${number.toLocaleString("en-US")} ${name}`).join(", ") || "nothing yet"}`;
  document.getElementById("fresh").textContent = problem || (data.live ? `Kept fresh while the command runs; last change seen at ${moment(data.made)}.`
    : `As of ${moment(data.made)}. The same command writes it anew; with serve=8000 it stays fresh.`);
}

function watch() {
  let mark = "";
  const look = async () => {
    try {
      const found = await fetch("contents.json", { cache: "no-store", headers: mark ? { "If-None-Match": mark } : {} });
      if (found.status === 200) {
        const newer = await found.json(), first = !mark;
        mark = found.headers.get("ETag") ?? "";
        if (!first || newer.main.made !== data.made) {
          data = newer.main;
          more = { details: newer.details, curves: newer.curves };
          whole = { keys: "", rows: null };
          index();
          facts();
          if (!document.activeElement?.closest("#filters")) filters();
          render();
        }
      }
      if (found.ok || found.status === 304) facts();
    } catch {
      facts(`The command that served this page has ended; what you see is of ${moment(data.made)}.`);
    }
    setTimeout(look, 3000);
  };
  setTimeout(look, 3000);
}

for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
  if (name === "word") { const [word, ...parts] = value.split("="); state.words[word] = parts.join("="); }
  else if (KEPT.includes(name)) state[name] = value;
}
if (!TABS[state.tab]) state.tab = "studies";
index();
facts();
filters();
render();
let resized = 0;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => { if (state.tab === "curves") render(); }, 150); });
if (data.live) watch();
performance.mark("ready");

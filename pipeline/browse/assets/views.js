// One table for all views: sorted by its headings, a hundred rows at a time.
function table(name, caption, columns, rows) {
  const [sorted, way] = state.sorts[name] ?? [null, 1];
  const by = columns.find((column) => column.name === sorted);
  if (by) {
    const keys = new Map(rows.map((row) => [row, by.value(row)]));
    const rank = (key) => (key === null || key === undefined || key === "" || Number.isNaN(key) ? 1 : 0);
    const order = (a, b) => {
      const [one, other] = [keys.get(a), keys.get(b)];
      if (rank(one) || rank(other)) return rank(one) - rank(other);
      return way * (typeof one === "number" && typeof other === "number" ? one - other
        : String(one).localeCompare(String(other), "en", { numeric: true }));
    };
    rows = [...rows].sort(order);
  }
  const pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS)), page = Math.min(state.pages[name] ?? 0, pages - 1);
  const head = make("tr", {}, ...columns.map((column) => {
    const cell = make("th", { scope: "col", className: column.words ? "word" : "" });
    if (!column.value) return cell.append(column.shown ?? column.name), cell;
    if (by === column) cell.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
    const button = make("button", { type: "button", className: "sort" }, column.name);
    button.dataset.focus = `${name} ${column.name}`;
    button.addEventListener("click", () => {
      state.sorts[name] = by !== column ? [column.name, 1] : way > 0 ? [column.name, -1] : [null, 1];
      state.pages[name] = 0;
      render();
    });
    return cell.append(button), cell;
  }));
  const body = rows.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS).map((row) => make("tr", {}, ...columns.map((column) =>
    make(column.head ? "th" : "td", { scope: column.head ? "row" : undefined, className: `${column.words ? "word" : ""}${column.long ? " long" : ""}` }, column.get(row)))));
  const label = `${caption.split(". ")[0]}`;
  const box = make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: label }, make("table", {},
    make("caption", { className: "aside" }, caption), make("thead", {}, head), make("tbody", {}, ...body)));
  return make("div", { className: "tabular" }, make("p", { className: "caption", ariaHidden: "true" }, caption), box,
    pages > 1 ? pager(name, page, pages, rows.length) : null);
}

function pager(name, page, pages, rows) {
  const turn = (text, to) => {
    const button = make("button", { type: "button", disabled: to < 0 || to >= pages }, text);
    button.dataset.focus = `${name} ${text}`;
    button.addEventListener("click", () => { state.pages[name] = to; render(); });
    return button;
  };
  const from = page * PAGE_ROWS + 1, to = Math.min(rows, from + PAGE_ROWS - 1);
  return make("nav", { className: "pager", ariaLabel: "Pages of the table" }, turn("First", page ? 0 : -1), turn("Previous", page - 1),
    make("span", {}, `${from.toLocaleString("en-US")} to ${to.toLocaleString("en-US")} of ${rows.toLocaleString("en-US")}`),
    turn("Next", page + 1), turn("Last", page < pages - 1 ? pages - 1 : -1));
}

const plain = (name, get, value, set = {}) => ({ name, get, value: value ?? get, words: true, ...set });
const numeric = (name, get, show = shown, set = {}) => ({ name, get: (row) => show(get(row)), value: (row) => {
  const found = get(row);
  return found === null || found === undefined ? null : Number(found);
}, ...set });
const chip = (row) => make("span", { className: `chip ${stateOf(row)}` }, stateOf(row));
const go = (text, change, set = {}) => {
  const button = make("button", { type: "button", className: "link", ...set }, text);
  button.addEventListener("click", () => { Object.assign(state, change()); render(true); });
  return button;
};

function studies(rows) {
  const found = new Map();
  for (const row of rows) {
    for (const name of data.rows.study[row].length ? studiesOf(row) : ["-"]) {
      if (state.study && state.study !== "-" && name !== state.study) continue;
      const own = found.get(name) ?? { name, rows: 0, trained: 0, states: {}, bytes: 0, made: 0, reports: [] };
      found.set(name, own);
      own.rows += 1;
      own.trained += stageOf(row) === "train" && stateOf(row) === "done" ? 1 : 0;
      own.states[stateOf(row)] = (own.states[stateOf(row)] ?? 0) + 1;
      own.bytes += data.rows.bytes[row];
      own.made = Math.max(own.made, data.rows.made[row]);
    }
  }
  for (const row of data.links.reports) for (const name of studiesOf(row)) found.get(name)?.reports.push(row);
  const states = data.states.slice(1).filter((one) => [...found.values()].some((own) => own.states[one]));
  const columns = [
    plain("study", (own) => go(own.name === "-" ? "of no study" : own.name, () => ({ tab: "runs", study: own.name })), (own) => own.name, { head: true }),
    numeric("trained networks", (own) => own.trained), numeric("artifacts", (own) => own.rows),
    ...states.map((one) => numeric(one, (own) => own.states[one] ?? 0)),
    numeric("size", (own) => own.bytes, bytes), numeric("last made", (own) => own.made, moment),
    { name: "reports", words: true, get: (own) => listed(own.reports) },
  ];
  return table("studies", "Studies. An artifact that several studies share counts in each.", columns, [...found.values()]);
}

function listed(reports) {
  const newest = [...reports].sort((a, b) => data.rows.made[b] - data.rows.made[a]);
  if (!newest.length) return "–";
  return make("span", {}, ...newest.slice(0, 3).flatMap((row, place) => [place ? ", " : "", link(row, "/report.html", moment(data.rows.made[row]))]),
    newest.length > 3 ? ` and ${newest.length - 3} earlier` : "");
}

const LIKED = ["test_accuracy", "test_rmse", "test_loss", "train_accuracy", "train_loss", "tau", "spearman", "agreement", "surrogate_accuracy"];
function chosenNumbers(stage) {
  const names = data.numbers[data.stages.indexOf(stage)]?.names ?? [];
  if (state.columns[stage]) return names.filter((name) => state.columns[stage].has(name));
  const liked = LIKED.filter((name) => names.includes(name));
  return [...liked, ...names.filter((name) => !liked.includes(name) && !/\[|_n$/.test(name))].slice(0, 4);
}

const LONGEST = 24; // letters of a setting that has a column

function runs(rows) {
  const inside = new Set(rows), stages = new Set(rows.map((row) => data.rows.stage[row])), one = stages.size === 1 ? data.stages[[...stages][0]] : "";
  const inUse = data.rows.names.map((name, place) => [name, place, [...new Set(data.rows.words[place].filter((_, row) => inside.has(row)))].filter((word) => word >= 0)])
    .filter(([, , found]) => found.length);
  const words = inUse.filter(([, place]) => place < data.rows.axes).slice(0, 6).map(([name]) => name);
  const settings = inUse.filter(([, place, found]) => place >= data.rows.axes && found.length > 1 && found.every((word) => data.rows.labels[word].length <= LONGEST))
    .slice(0, 6).map(([name]) => name);
  const word = (name) => plain(name, (row) => wordOf(row, name) || "–", (row) => wordOf(row, name));
  const columns = [
    { name: "compare", words: true, get: picker },
    plain("artifact", (row) => detailButton(row), nameOf, { head: true }),
    ...(one ? [] : [plain("stage", stageOf)]),
    plain("state", (row) => chip(row), stateOf),
    ...(one ? chosenNumbers(one).map((name) => numeric(name, (row) => numberOf(row, name))) : []),
    ...words.map(word),
    numeric("made", (row) => data.rows.made[row], moment), numeric("seconds", (row) => data.rows.seconds[row]),
    numeric("size", (row) => data.rows.bytes[row], bytes),
    { name: "files", words: true, get: files },
    ...settings.map(word),
  ];
  const box = make("div", {}, make("div", { className: "tools" }, one ? columnChooser(one) : null, comparison()),
    table("runs", "Runs and other artifacts. Choose one stage to see its numbers.".slice(0, one ? 25 : undefined), columns, rows));
  return box;
}

const hasReport = (row) => data.links.reports.includes(row);
const files = (row) => make("span", {}, ...(hasReport(row) ? [link(row, "/report.html", "report"), ", "] : []),
  stateOf(row) === "done" || !data.live ? link(row, "", "folder") : "–");

function detailButton(row) {
  const button = make("button", { type: "button", className: "link" }, nameOf(row));
  button.dataset.focus = `detail ${data.rows.key[row]}`;
  button.addEventListener("click", () => detail(row));
  return button;
}

function picker(row) {
  const key = data.rows.key[row], box = make("input", { type: "checkbox", ariaLabel: `Compare ${nameOf(row)}`, checked: [state.first, state.second].includes(key) });
  box.disabled = stateOf(row) !== "done";
  box.dataset.focus = `pick ${key}`;
  box.addEventListener("change", () => {
    if (!box.checked) state[state.first === key ? "first" : "second"] = "";
    else if (!state.first) state.first = key;
    else state.second = key;
    render();
  });
  return box;
}

function comparison() {
  if (!state.first && !state.second) return make("p", { className: "soft" }, "Tick two to compare them.");
  if (!state.first || !state.second) return make("p", { className: "soft" }, `${state.first || state.second} is ticked; tick another one.`);
  return go(`Compare ${state.first} and ${state.second}`, () => ({ tab: "compare" }), { className: "strong" });
}

function columnChooser(stage) {
  const names = data.numbers[data.stages.indexOf(stage)].names, chosen = new Set(chosenNumbers(stage));
  if (!names.length) return null;
  const boxes = names.slice(0, 200).map((name) => {
    const box = make("input", { type: "checkbox", checked: chosen.has(name) });
    box.dataset.focus = `column ${name}`;
    box.addEventListener("change", () => {
      state.columns[stage] = new Set(chosenNumbers(stage));
      state.columns[stage][box.checked ? "add" : "delete"](name);
      state.chooser = true;
      render();
    });
    return make("label", {}, box, ` ${name}`);
  });
  const part = make("details", { open: Boolean(state.chooser) }, make("summary", {}, "Numbers to show"), make("div", { className: "boxes" }, ...boxes));
  part.addEventListener("toggle", () => { state.chooser = part.open; });
  return part;
}

// A cell is a combination of labels; an artifact that several cells share stands in each of them.
function cells(rows) {
  const axes = data.rows.names.slice(0, data.rows.axes), places = axes.map((_, place) => place);
  const kept = new Map(), wide = [];
  for (const row of rows) {
    const own = places.map((place) => data.rows.words[place][row]);
    if (!own.some((value) => value >= 0) || data.gathers.includes(stageOf(row))) continue;
    for (const study of data.rows.study[row].length ? data.rows.study[row] : [-1]) {
      const mark = places.filter((place) => own[place] >= 0), kind = mark.join();
      if (!kept.has(kind)) kept.set(kind, { mark, found: new Map() });
      const name = `${study}|${mark.map((place) => own[place]).join()}`, group = kept.get(kind).found;
      if (!group.has(name)) group.set(name, { study, own, rows: [] });
      group.get(name).rows.push(row);
    }
  }
  const kinds = [...kept.values()].sort((a, b) => a.mark.length - b.mark.length);
  for (const kind of kinds) {
    const larger = kinds.filter((other) => other.mark.length > kind.mark.length && kind.mark.every((place) => other.mark.includes(place)));
    const covered = new Set(larger.flatMap((other) => [...other.found.values()].map((cell) => `${cell.study}|${kind.mark.map((place) => cell.own[place]).join()}`)));
    for (const [name, cell] of kind.found) if (!covered.has(name)) wide.push(cell);
  }
  const order = (cell) => (cell.study < 0 ? Infinity : cell.study);
  wide.sort((one, other) => order(one) - order(other) || 0); // cells of a study stand together
  const used = places.filter((place) => wide.some((cell) => cell.own[place] >= 0));
  const stages = data.stages.filter((name) => rows.some((row) => stageOf(row) === name && !data.gathers.includes(name)) && name !== "prepare");
  const inside = (cell) => {
    if (cell.inside) return cell.inside;
    cell.inside = kinds.filter((kind) => kind.mark.every((place) => cell.own[place] >= 0))
      .flatMap((kind) => kind.found.get(`${cell.study}|${kind.mark.map((place) => cell.own[place]).join()}`)?.rows ?? []);
    return cell.inside;
  };
  const of = (cell, stage) => inside(cell).filter((row) => stageOf(row) === stage).sort((a, b) => data.rows.made[b] - data.rows.made[a]);
  const study = (cell) => (cell.study < 0 ? "–" : data.rows.studies[cell.study]);
  const columns = [
    plain("study", study, study, { head: true }),
    ...used.map((place) => plain(axes[place], (cell) => (cell.own[place] < 0 ? "–" : data.rows.labels[cell.own[place]]))),
    ...stages.map((stage) => ({ name: stage, words: true, get: (cell) => {
      const [newest, ...others] = of(cell, stage);
      if (newest === undefined) return make("span", { className: "soft" }, "–");
      const button = make("button", { type: "button", className: `chip ${stateOf(newest)}`, ariaLabel: `${stage} of this cell: ${stateOf(newest)}` }, stateOf(newest));
      button.addEventListener("click", () => detail(newest));
      return make("span", {}, button, others.length ? ` +${others.length}` : "");
    } })),
  ];
  return wide.length ? table("cells", "Cells of the studies, and how far each stage is. A dash is what is not there, or what the cell does not need.", columns, wide)
    : make("p", {}, "No artifact here has the labels of a study's cells.");
}

function groups(rows) {
  const inside = new Set(rows), found = data.groups.filter((group) => group.rows.some((row) => inside.has(row)) && !data.gathers.includes(data.stages[group.stage]));
  const names = [...new Set(found.flatMap((group) => Object.keys(group.summary).map((place) => data.numbers[group.stage].names[place])))];
  if (!names.length) return make("p", {}, "No finished run here has numbers.");
  const counts = new Map(names.map((name) => [name, 0]));
  for (const group of found) for (const place of Object.keys(group.summary)) counts.set(data.numbers[group.stage].names[place], counts.get(data.numbers[group.stage].names[place]) + 1);
  if (!counts.has(state.quantity)) state.quantity = LIKED.find((name) => counts.has(name)) ?? names[0];
  const choice = select("Number", "quantity", names.map((name) => [name, name]));
  const of = (group) => group.summary[numbered[group.stage].get(state.quantity)];
  const shownGroups = found.filter((group) => of(group));
  const axes = [...new Set(shownGroups.flatMap((group) => Object.keys(group.words)))].filter((name) => !repeated.has(name) && new Set(shownGroups.map((group) => group.words[name] ?? "")).size > 1);
  const named = new Map(titles(shownGroups.map((group) => [bareName(group.rows[0]), Object.entries(group.words)])).map((title, place) => [shownGroups[place], title]));
  const all = shownGroups.flatMap((group) => group.rows.map((row) => Number(numberOf(row, state.quantity) ?? NaN))).filter(Number.isFinite);
  const ends = [Math.min(...extremes(all)), Math.max(...extremes(all))];
  const columns = [
    plain("group", (group) => go(named.get(group), () => ({ tab: "runs", group: groupName(group), stage: "", query: "", words: {} }), { title: "Show its runs" }), (group) => named.get(group), { head: true, long: true }),
    plain("stage", (group) => data.stages[group.stage]),
    numeric("n", (group) => of(group)[0]),
    numeric("mean", (group) => of(group)[1], undefined, { get: (group) => estimate(of(group))[0] }),
    numeric("95 % interval of the mean", (group) => of(group)[3], undefined, { get: (group) => estimate(of(group))[1] }),
    numeric("sd", (group) => of(group)[2]),
    { name: "each run", words: true, get: (group) => strip(group, ends) },
    ...axes.map((name) => plain(name, (group) => group.words[name] ?? "–")),
  ];
  const note = "Runs that differ in nothing but the seed. Student's interval over runs; of shares and accuracies Wilson's with the spread between runs. Filters choose groups and leave their runs whole.";
  return make("div", {}, make("div", { className: "tools" }, choice), table("groups", note, columns, shownGroups));
}

const extremes = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

function estimate([, mean, , low, high, why]) {
  if (mean === null) return ["–", why || "–"];
  if (low === null) return [shown(mean), why];
  const width = high - low, small = Math.max(Math.abs(low), Math.abs(high));
  if (!(width > 0) || small >= 1e6 || small < 1e-4) return [shown(mean), `[${shown(low)}, ${shown(high)}]`];
  const digits = Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(width))));
  return [mean.toFixed(digits), `[${low.toFixed(digits)}, ${high.toFixed(digits)}]`];
}

function strip(group, [low, high]) {
  const node = make("svg:svg", { viewBox: "0 0 140 16", class: "strip", "aria-hidden": "true" }), span = high - low || 1;
  node.append(make("svg:line", { x1: 4, x2: 136, y1: 8, y2: 8 }));
  for (const row of group.rows.slice(0, 300)) {
    const value = numberOf(row, state.quantity);
    if (value === null || !Number.isFinite(Number(value))) continue;
    const seed = wordsOf(row).filter(([name, word]) => isSeed(name, word)).map(([name, word]) => `${name} ${word}`).join(", ");
    node.append(make("svg:circle", { cx: 4 + 132 * (Number(value) - low) / span, cy: 8, r: 3 }, make("svg:title", {}, `${seed || nameOf(row)}: ${shown(value)}`)));
  }
  return node;
}

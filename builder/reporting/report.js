"use strict";
// The filters, the pictures, the balance and the rejected tries of a report. Text from the data becomes text nodes only, never HTML.
(() => {
  const PAGE = 120;
  const TABLES = [
    ["feature", "ethnicity"], ["feature", "age_group"], ["feature", "sex"],
    ["sex", "ethnicity"], ["sex", "age_group"], ["ethnicity", "age_group"],
  ];
  const UNITS = { yaw: "°", pitch: "°", roll: "°" };
  const svg = document.getElementById("data").namespaceURI.replace("1999/xhtml", "2000/svg"); // no address in this file
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const images = JSON.parse(byId("images").textContent);
  const names = data.axes.map((axis) => axis.name);
  const form = byId("filters");
  const selects = names.map((name) => form.elements[name]);
  const [FEATURE, VERIFIED] = [names.indexOf("feature"), names.indexOf("verified")];
  const MARK = "faces";
  const hasFaces = data.face.some(Boolean);
  let matching = []; // the pictures that the filters let through
  let page = 0;
  let current = 0; // the place among `matching` that has the focus, or had it last

  const words = (name) => name.replaceAll("_", " ");
  const number = (n) => n.toLocaleString("en");
  const total = (counts) => counts.reduce((sum, n) => sum + n, 0);
  const label = (axis, shown) => data.axes[axis].values[data.codes[axis][shown]];

  function element(tag, text, attributes = {}) {
    return described(document.createElement(tag), text, attributes);
  }

  function drawn(tag, attributes) {
    return described(document.createElementNS(svg, tag), "", attributes);
  }

  function described(made, text, attributes) {
    if (text) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  // Filters. A row is let through when every axis with a choice has that value.

  const choices = () => selects.map((select) => (select.value === "" ? -1 : Number(select.value)));

  /** The counts of each axis' values over all rows that the other axes let through, and whether all let a cell through. */
  function count(chosen) {
    const found = data.axes.map((axis) => new Array(axis.values.length).fill(0));
    const through = new Uint8Array(data.counts.length);
    data.counts.forEach((n, cell) => {
      const misses = chosen.flatMap((code, axis) => (code < 0 || data.cells[axis][cell] === code ? [] : [axis]));
      through[cell] = misses.length === 0;
      if (misses.length > 1) return;
      for (const axis of misses.length ? misses : names.keys()) found[axis][data.cells[axis][cell]] += n;
    });
    return [found, through];
  }

  function filter() {
    const chosen = choices();
    const [found, through] = count(chosen);
    selects.forEach((select, axis) => {
      select.options[0].textContent = `all (${number(total(found[axis]))})`;
      data.axes[axis].values.forEach((value, code) => {
        const option = select.options[code + 1];
        option.textContent = `${value} (${number(found[axis][code])})`;
        option.disabled = found[axis][code] === 0 && chosen[axis] !== code;
      });
    });
    matching = [];
    for (let shown = 0; shown < images.length; shown++) {
      if (chosen.every((code, axis) => code < 0 || data.codes[axis][shown] === code)) matching.push(shown);
    }
    const rows = data.counts.reduce((sum, n, cell) => sum + (through[cell] ? n : 0), 0);
    byId("found").textContent = `${number(rows)} of ${number(total(data.counts))} pictures, ${number(matching.length)} of them shown here`;
    turn(0);
    heat(through);
    reasons(chosen);
  }

  /** Filter anew, note it in the address, and keep the reader at the section that is under the filters. */
  function refilter() {
    const under = () => (getComputedStyle(form).position === "sticky" ? form.getBoundingClientRect().bottom + 8 : 0);
    const sections = [...byId("filtered").querySelectorAll("section")];
    const top = (section) => section.getBoundingClientRect().top;
    const reading = sections.filter((section) => top(section) < under()).pop();
    const before = reading && top(reading);
    filter();
    note();
    if (!reading) return;
    const to = reading.id === "gallery" ? under() : before; // the pictures are others: at their beginning
    window.scrollBy({ top: top(reading) - to, behavior: "instant" });
  }

  // The address: after # stands which filters are chosen, by name, and whether faces are marked.

  /** Write the choices into the address, without a step in the history: Back leaves the page. */
  function note() {
    const words = new URLSearchParams();
    choices().forEach((code, axis) => code >= 0 && words.set(names[axis], data.axes[axis].values[code]));
    if (document.body.classList.contains("marked")) words.set(MARK, "1");
    history.replaceState(null, "", `#${words}`);
  }

  /** Take the choices from the address; what it says of no filter, or no value of one, is left out. */
  function restore() {
    const address = location.hash.slice(1);
    if (address && !address.includes("=")) return; // a section
    const words = new URLSearchParams(address);
    selects.forEach((select, axis) => {
      const code = data.axes[axis].values.indexOf(words.get(names[axis]));
      select.value = code < 0 ? "" : code;
    });
    mark(words.get(MARK) === "1");
  }

  // Pictures.

  function turn(to) {
    const last = Math.max(0, Math.ceil(matching.length / PAGE) - 1);
    page = Math.min(Math.max(to, 0), last);
    current = page * PAGE;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page === last;
    byId("page").textContent = matching.length ? `page ${page + 1} of ${last + 1}` : "no picture here fits the filters";
    let feature = null;
    const made = [];
    matching.slice(current, current + PAGE).forEach((shown, place) => {
      if (data.codes[FEATURE][shown] !== feature) {
        feature = data.codes[FEATURE][shown];
        made.push(element("h3", `${label(0, shown)} › ${label(FEATURE, shown)}`));
      }
      made.push(thumbnail(shown, place));
    });
    byId("pictures").replaceChildren(...made);
  }

  // The face of a picture.

  const boxes = [...document.querySelectorAll(".mark input")];

  /** Show the faces' boxes and points on all pictures, or hide them. */
  function mark(on) {
    document.body.classList.toggle("marked", on);
    for (const box of boxes) box.checked = on;
  }

  function remark(on) {
    mark(on);
    note();
  }

  /** A drawing to lie over a picture, in its pixels: nothing where there is no face. */
  function face(shown) {
    if (!data.face[shown]) return [];
    const [[width, height], [x, y, wide, high, ...points]] = [data.sizes[data.size[shown]], data.face[shown]];
    const made = drawn("svg", { class: "face", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    const box = `M${x} ${y}h${wide}v${high}h${-wide}z`;
    let dots = "";
    for (let n = 0; n < points.length; n += 2) dots += `M${points[n]} ${points[n + 1]}h0`;
    const paths = [["", box], ["box", box], ...(dots ? [["points", dots], ["points", dots]] : [])];
    made.append(...paths.map(([kind, d]) => drawn("path", { class: kind, d })));
    return [made];
  }

  function thumbnail(shown, place) {
    const about = names.slice(1).map((_, axis) => label(axis + 1, shown));
    about[VERIFIED - 1] = `verified: ${about[VERIFIED - 1]}`;
    const state = ["yes", "no", ""][data.codes[VERIFIED][shown]];
    const button = element("button", "", { type: "button", class: state, tabindex: place ? -1 : 0, title: data.id[shown] });
    button.append(element("img", "", { src: images[shown], alt: about.join(", "), decoding: "async" }), ...face(shown));
    button.addEventListener("click", () => open(current - current % PAGE + place));
    button.addEventListener("focus", () => enter(page * PAGE + place));
    return button;
  }

  const buttons = () => [...byId("pictures").querySelectorAll("button")];

  /** Make a place the one that the Tab key comes to. */
  function enter(place) {
    const all = buttons();
    all[current - page * PAGE].tabIndex = -1;
    all[place - page * PAGE].tabIndex = 0;
    current = place;
  }

  /** Move the focus to a place, on whatever page it is. */
  function go(place) {
    const to = Math.min(Math.max(place, 0), matching.length - 1);
    if (Math.floor(to / PAGE) !== page) turn(Math.floor(to / PAGE));
    buttons()[to - page * PAGE].focus();
  }

  /** The place above (-1) or below (1) the current one: the nearest of the next row, on this page or a neighbour. */
  function beside(direction) {
    const boxes = buttons().map((button) => button.getBoundingClientRect());
    const here = boxes[current - page * PAGE];
    const away = (box) => (box.top - here.top) * direction;
    const gap = Math.min(...boxes.map(away).filter((distance) => distance > 1));
    const row = boxes.flatMap((box, place) => (Math.abs(away(box) - gap) < 1 ? [place] : []));
    if (!row.length) return direction > 0 ? (page + 1) * PAGE : page * PAGE - 1;
    const far = (place) => Math.abs(boxes[place].left - here.left);
    return page * PAGE + row.reduce((best, place) => (far(place) < far(best) ? place : best));
  }

  const KEYS = {
    ArrowLeft: () => current - 1,
    ArrowRight: () => current + 1,
    ArrowUp: () => beside(-1),
    ArrowDown: () => beside(1),
    Home: () => page * PAGE,
    End: () => (page + 1) * PAGE - 1,
    PageUp: () => (page - 1) * PAGE,
    PageDown: () => (page + 1) * PAGE,
  };

  byId("pictures").addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    go(KEYS[event.key]());
  });

  // Details of a picture.

  const dialog = byId("details");

  function open(place, stepping = false) {
    const shown = matching[place];
    const [passed, failed, unknown] = data.outcomes[data.outcome[shown]];
    const facts = names.map((name, axis) => [words(name), label(axis, shown)]);
    facts.push(["age in years", String(data.age[shown])], ["phrase", data.phrases[data.phrase[shown]] || "none"]);
    facts.push(["seed", String(data.seed[shown])], ["tries rejected before", String(data.attempt[shown])]);
    for (const [what, checks] of [["passed", passed], ["failed", failed], ["not judged by", unknown]]) {
      facts.push([what, checks.join(", ") || "–"]);
    }
    data.measured[shown].forEach((value, n) => {
      if (value !== null) facts.push([words(data.measures[n]), `${value}${UNITS[data.measures[n]] || ""}`.replace("-", "−")]);
    });
    byId("details-prompt").textContent = data.prompt[shown].map((word) => data.words[word]).join("");
    byId("details-title").textContent = data.id[shown];
    byId("details-image").src = images[shown];
    byId("details-image").alt = data.id[shown];
    byId("details-picture").replaceChildren(byId("details-image"), ...face(shown));
    dialog.querySelector("dl").replaceChildren(...facts.flatMap(([what, value]) => [element("dt", what), element("dd", value)]));
    byId("before").disabled = place === 0;
    byId("after").disabled = place === matching.length - 1;
    dialog.dataset.place = place;
    if (!dialog.open) dialog.showModal();
    const has = document.activeElement;
    if (!dialog.contains(has) || has.disabled || !stepping) byId("details-title").focus({ preventScroll: true });
    dialog.scrollTop = 0;
  }

  function step(by) {
    const place = Number(dialog.dataset.place) + by;
    if (place >= 0 && place < matching.length) open(place, true);
  }

  byId("before").addEventListener("click", () => step(-1));
  byId("after").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("select")) return;
    if (event.key.toLowerCase() === "f" && hasFaces) remark(!boxes[0].checked);
    if (dialog.open && event.key.startsWith("Arrow")) step({ ArrowLeft: -1, ArrowRight: 1 }[event.key] || 0);
  });
  dialog.addEventListener("close", () => go(Number(dialog.dataset.place)));

  /** Go to the section of a link, and leave in the address what stands there. */
  function goTo(event) {
    const section = document.querySelector(event.currentTarget.getAttribute("href"));
    event.preventDefault();
    section.scrollIntoView();
    section.tabIndex = -1;
    section.focus({ preventScroll: true });
  }

  // Balance.

  function heat(through) {
    const made = TABLES.map(([down, across]) => {
      const [row, column] = [names.indexOf(down), names.indexOf(across)];
      const counts = data.axes[row].values.map(() => new Array(data.axes[column].values.length).fill(0));
      data.counts.forEach((n, cell) => {
        if (through[cell]) counts[data.cells[row][cell]][data.cells[column][cell]] += n;
      });
      return table(data.axes[row], data.axes[column], counts);
    });
    const small = element("div", "", { class: "small" });
    small.append(...made.splice(3));
    byId("heat").replaceChildren(...made, small);
  }

  // Rejected tries.

  /** Their reasons, counted over the features of the chosen attribute and feature. */
  function reasons(chosen) {
    const { reasons: why, rows } = data.rejected;
    const wanted = [0, FEATURE].map((axis) => (chosen[axis] < 0 ? null : data.axes[axis].values[chosen[axis]]));
    const own = rows.filter((row) => wanted.every((name, place) => name === null || row[place] === name));
    const counts = why.map((_, reason) => total(own.map((row) => row[3][reason])));
    const [gone, kept] = [total(counts), total(own.map((row) => row[2]))];
    const share = (n, of) => `${(of ? (100 * n) / of : 0).toFixed(1)}%`;
    byId("tries").textContent = `${number(gone)} of ${number(gone + kept)} tries were rejected (${share(gone, gone + kept)}).`;
    const made = element("table");
    const head = made.createTHead().insertRow();
    for (const text of ["reason", "tries", "of the rejected", ""]) head.append(element(text ? "th" : "td", text, text ? { scope: "col" } : {}));
    const body = made.createTBody();
    const order = [...counts.keys()].filter((reason) => counts[reason]).sort((a, b) => counts[b] - counts[a]);
    for (const reason of order) {
      const row = body.insertRow();
      row.append(element("th", why[reason], { scope: "row" }), element("td", number(counts[reason])), element("td", share(counts[reason], gone)));
      row.appendChild(element("td")).style.setProperty("--share", counts[reason] / counts[order[0]]);
    }
    byId("reasons").replaceChildren(...(order.length ? [made] : []));
  }

  function table(down, across, counts) {
    const caption = `${words(down.name)} × ${words(across.name)}`;
    const region = element("div", "", { class: "wide", role: "region", "aria-label": caption, tabindex: 0 });
    const made = region.appendChild(element("table"));
    made.append(element("caption", caption));
    const most = Math.max(1, ...counts.flat());
    const head = made.createTHead().insertRow();
    head.append(element("th", words(down.name), { scope: "col" }));
    for (const value of across.values) head.append(element("th", value, { scope: "col" }));
    const body = made.createTBody();
    down.values.forEach((value, n) => {
      if (down.name === "feature" && !total(counts[n])) return;
      const row = body.insertRow();
      row.append(element("th", value, { scope: "row" }));
      for (const count of counts[n]) {
        const cell = row.appendChild(element("td", number(count)));
        cell.style.setProperty("--share", count / most);
      }
    });
    return region;
  }

  selects.forEach((select, axis) => {
    data.axes[axis].values.forEach((_, code) => select.append(element("option", "", { value: code })));
    select.addEventListener("change", refilter);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(refilter));
  byId("previous").addEventListener("click", () => turn(page - 1));
  byId("next").addEventListener("click", () => turn(page + 1));
  for (const box of boxes) box.addEventListener("change", () => remark(box.checked));
  for (const label of document.querySelectorAll(".mark")) label.hidden = !hasFaces;
  for (const link of document.querySelectorAll("a[href^='#']")) link.addEventListener("click", goTo);
  window.addEventListener("hashchange", () => {
    restore();
    filter();
  });
  document.documentElement.style.setProperty("--side", `${data.side}px`);
  restore();
  filter();
  new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${form.offsetHeight}px`)).observe(form);
})();

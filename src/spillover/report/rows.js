"use strict";
// Completions side by side. All text is set as text, never as markup.
(() => {
  const STEP = 20;
  const rows = JSON.parse(document.getElementById("rows").textContent);
  const list = document.getElementById("said");
  const status = document.getElementById("said-status");
  const more = document.getElementById("said-more");
  const filters = document.getElementById("said-filters");
  const el = (tag, props, ...children) => {
    const node = Object.assign(document.createElement(tag), props || {});
    node.append(...children);
    return node;
  };
  const select = (label, name, options) => {
    const box = el("select", { name }, ...options.map((o) =>
      el("option", { value: o[0], textContent: o[1] })));
    box.addEventListener("change", () => start());
    return el("label", {}, `${label} `, box);
  };
  const text = (value) => el("div", { className: "text", dir: "auto", tabIndex: 0, textContent: value });
  const side = (name, label, value) => el("div", { className: "side" },
    el("p", { className: "who" }, `${name} `, el("span", { className: `chip ${label}`, textContent: label })),
    text(value || "(nothing)"));
  const sides = JSON.parse(list.dataset.sides);
  const draw = ([id, concept, change, prompt, before, first, after, second, model]) =>
    el("article", { className: "row" },
      el("p", { className: "who" }, `${model ? `${model} \u00b7 ` : ""}${concept.replaceAll("_", " ")} \u00b7 `,
        el("b", { textContent: change }), ` \u00b7 ${id}`),
      el("div", { className: "asked", dir: "auto", textContent: prompt }),
      el("div", { className: "sides" }, side(sides[0], before, first), side(sides[1], after, second)));

  const counted = (place, name) => rows.filter((r) => r[place] === name).length;
  const options = (place, names) => [["", `all (${rows.length})`],
    ...names.map((n) => [n, `${n.replaceAll("_", " ")} (${counted(place, n)})`])];
  const concepts = [...new Set(rows.map((r) => r[1]))].sort();
  const models = [...new Set(rows.map((r) => r[8]).filter(Boolean))];
  const changes = JSON.parse(list.dataset.changes).filter((c) => counted(2, c));
  const search = el("input", { type: "search", name: "words", autocomplete: "off" });
  search.addEventListener("input", () => start());
  filters.append(
    select("Change", "change", options(2, changes)),
    select("Concept", "concept", options(1, concepts)),
    ...(models.length ? [select("Model", "model", options(8, models))] : []),
    el("label", {}, "Words ", search));

  let found = [];
  let shown = 0;
  const next = () => {
    list.append(...found.slice(shown, shown + STEP).map(draw));
    shown = Math.min(found.length, shown + STEP);
    status.textContent = `${shown} of ${found.length} shown`;
    more.hidden = shown >= found.length;
  };
  const start = () => {
    const value = (name) => filters.querySelector(`[name=${name}]`)?.value;
    const [change, concept, model] = ["change", "concept", "model"].map(value);
    const words = search.value.toLowerCase();
    found = rows.filter((r) => (!change || r[2] === change) && (!concept || r[1] === concept)
      && (!model || r[8] === model)
      && (!words || [r[3], r[5], r[7]].some((t) => t.toLowerCase().includes(words))));
    shown = 0;
    list.replaceChildren();
    next();
  };
  more.addEventListener("click", next);
  // What changed first: that is what a reader looks for.
  const first = filters.querySelector("[name=change]");
  first.value = changes.includes("now complies") ? "now complies" : "";
  start();
})();

"use strict";
// Widgets of an explanation. All text is set as text, never as markup.
(() => {
  const el = (tag, props, ...children) => {
    const node = Object.assign(document.createElement(tag), props || {});
    node.append(...children);
    return node;
  };
  const fixed = (x, digits = 3) =>
    x === null || x === undefined ? "n/a" : Number(x).toFixed(digits).replace("-", "\u2212");
  const shown = (token) => token.replace(/\n/g, "\u21b5").replace(/\t/g, "\u21e5") || "\u2205";

  // Pale to dark; `share` in [0, 1]. Readable in both colour schemes: ink follows the lightness.
  const paint = (node, share, hue) => {
    const s = Math.max(0, Math.min(1, share));
    node.style.background = `hsl(${hue} ${30 + 45 * s}% ${96 - 56 * s}%)`;
    node.style.color = s > 0.6 ? "#fff" : "#111";
  };
  const select = (label, options, change) => {
    const box = el("select", { ariaLabel: label });
    options.forEach(([value, text]) => box.append(el("option", { value, textContent: text })));
    box.addEventListener("change", () => change(box.value));
    return el("label", { className: "control" }, `${label} `, box);
  };

  // tokens: the same response under each model, every token coloured; hover, tap or arrow keys.
  const KINDS = {
    surprise: ["surprise (nats)", (v, i) => -v.logprob[i], 8],
    entropy: ["entropy (nats)", (v, i) => v.entropy[i], 6],
    rank: ["rank (log)", (v, i) => Math.log(v.rank[i]), 7],
    change: ["more surprising than to the first model (nats)", null, 6],
  };
  const tokens = (root, data) => {
    let example = data.examples[0];
    let kind = "surprise";
    let at = 0;
    const view = el("div", { className: "traces", tabIndex: 0 });
    view.setAttribute("role", "group");
    view.setAttribute("aria-label", "Tokens; left and right arrow keys move along the response");
    const status = el("div", { className: "status" });
    status.setAttribute("aria-live", "polite");
    const amount = (model, i) => {
      const v = example.values[model];
      if (kind !== "change") return KINDS[kind][1](v, i);
      return example.values[data.models[0]].logprob[i] - v.logprob[i];
    };
    const point = (i) => {
      at = Math.max(0, Math.min(example.tokens.length - 1, i));
      view.querySelectorAll("[data-i]").forEach((n) =>
        n.classList.toggle("at", Number(n.dataset.i) === at));
      status.replaceChildren(
        el("b", { className: "token", textContent: shown(example.tokens[at]) }),
        ` token ${at + 1} of ${example.tokens.length}`,
        el("ul", {}, ...data.models.map((m) => {
          const v = example.values[m];
          return el("li", { textContent: `${m}: log p ${fixed(v.logprob[at], 2)}, ` +
            `p ${Math.exp(v.logprob[at]).toPrecision(2)}, entropy ${fixed(v.entropy[at], 2)}, ` +
            `rank ${v.rank[at]}` });
        })));
    };
    const draw = () => {
      view.replaceChildren(
        el("p", { className: "asked", textContent: `${example.set}: ${example.prompt}`, dir: "auto" }),
        ...data.models.map((model) => {
          const line = el("p", { className: "line", dir: "auto" });
          example.tokens.forEach((token, i) => {
            const span = el("span", { textContent: shown(token) });
            span.dataset.i = i;
            paint(span, amount(model, i) / KINDS[kind][2], kind === "change" ? 20 : 205);
            line.append(span);
          });
          return el("div", { className: "trace" }, el("b", { textContent: model }), line);
        }));
      point(Math.min(at, example.tokens.length - 1));
    };
    const seen = (event) => {
      const span = event.target.closest("[data-i]");
      if (span) point(Number(span.dataset.i));
    };
    view.addEventListener("pointerover", seen);
    view.addEventListener("click", seen);
    view.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) { event.preventDefault(); point(at + step); }
    });
    root.append(
      el("div", { className: "controls" },
        select("Example", data.examples.map((e, i) => [i, `${i + 1} \u00b7 ${e.set}`]),
          (i) => { example = data.examples[i]; at = 0; draw(); }),
        select("Colour", Object.entries(KINDS).map(([k, [text]]) => [k, text]),
          (k) => { kind = k; draw(); })),
      view, status);
    draw();
  };

  // matrices: one matrix of cosines a layer, chosen with a slider.
  const matrices = (root, data) => {
    let which = 0;
    const sheet = () => data.sheets[which];
    const slider = el("input", { type: "range", min: 0, max: data.layers.length - 1, step: 1 });
    slider.setAttribute("aria-label", "Layer");
    slider.value = Math.max(0, data.layers.indexOf(data.start));
    const name = el("output", {});
    const table = el("table", { className: "matrix" });
    const draw = () => {
      const values = sheet().values[slider.value];
      name.textContent = `layer ${data.layers[slider.value]}`;
      table.replaceChildren(
        el("thead", {}, el("tr", {}, el("td"),
          ...data.columns.map((c) => el("th", { textContent: c, scope: "col" })))),
        el("tbody", {}, ...data.rows.map((r, i) => el("tr", {},
          el("th", { textContent: r, scope: "row" }),
          ...data.columns.map((c, j) => {
            const cell = el("td", { textContent: fixed(values[i][j], 2), title: `${r}, ${c}` });
            paint(cell, Math.abs(values[i][j]), values[i][j] < 0 ? 20 : 205);
            return cell;
          })))));
    };
    slider.addEventListener("input", draw);
    root.append(
      el("div", { className: "controls" },
        select("Measure", data.sheets.map((s, i) => [i, s.name]), (i) => { which = i; draw(); }),
        el("label", { className: "control" }, "Layer ", slider, " ", name)),
      el("div", { className: "scroll", tabIndex: 0 }, table));
    draw();
  };

  // bars: what each model would say next, for a position of the reader's choice.
  const bars = (root, data) => {
    let chosen = data.positions[0];
    const view = el("div", { className: "bars" });
    const draw = () => {
      const largest = Math.max(0.01, ...chosen.probabilities.flat());
      view.replaceChildren(
        el("p", { className: "asked", textContent: `\u2026${chosen.before}`, dir: "auto" }),
        ...chosen.tokens.map((token, t) => el("div", { className: "bar" },
          el("code", { textContent: shown(token) }),
          el("div", {}, ...data.models.map((m, i) => {
            const p = chosen.probabilities[i][t];
            const fill = el("span", { className: `fill m${i % 4}` });
            fill.style.width = `${(100 * p) / largest}%`;
            return el("div", { className: "track", title: `${m}: ${fixed(p)}` }, fill,
              el("small", { textContent: `${m} ${fixed(p)}` }));
          })))));
    };
    root.append(
      el("div", { className: "controls" },
        select("Position", data.positions.map((p, i) => [i, p.name]),
          (i) => { chosen = data.positions[i]; draw(); })),
      view);
    draw();
  };

  const widgets = { tokens, matrices, bars };
  document.querySelectorAll("[data-widget]").forEach((root) => {
    const block = document.getElementById(`data-${root.dataset.name}`);
    widgets[root.dataset.widget](root, JSON.parse(block.textContent));
    root.closest("figure").classList.add("live");
  });
})();

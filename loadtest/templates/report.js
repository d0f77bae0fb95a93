"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const hidden = {}; // what the legends switched off: picture -> traces
  const touch = matchMedia("(pointer: coarse)").matches; // where a finger scrolls, it must not zoom
  let following = false;

  // Colours are names of CSS variables, so that the style sheet alone knows light from dark.
  const painted = (value, style) => {
    if (typeof value === "string") {
      return value.startsWith("var(") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => painted(item, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item, style)]));
  };

  const draw = (name, width) => {
    const { data, layout, wide } = painted(figures[name], getComputedStyle(root));
    const off = hidden[name] ?? new Set();
    data.forEach((trace, number) => { trace.visible = !off.has(number); });
    Object.assign(layout, { autosize: !width, dragmode: touch ? false : "zoom", uirevision: "kept" });
    if (width) layout.width = width;
    layout.yaxis.fixedrange = wide || touch;
    layout.xaxis.fixedrange = touch;
    return Plotly.react(name, data, layout, { displayModeBar: false, responsive: true });
  };

  // To zoom into one picture over time is to zoom into all of them.
  const follow = (name) => document.getElementById(name).on("plotly_relayout", (change) => {
    const range = change["xaxis.range"] ?? (("xaxis.range[0]" in change) && [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    if (!range || following) return;
    following = true;
    const others = Object.keys(figures).filter((other) => other !== name && figures[other].wide);
    Promise.all(others.map((other) => Plotly.relayout(other, { "xaxis.range": range }))).finally(() => { following = false; });
  });

  const drawAll = (width) => Promise.all(Object.keys(figures).map((name) => draw(name, width)));

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".legend button");
    if (!button) return;
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    const off = (hidden[button.dataset.plot] ??= new Set());
    for (const trace of JSON.parse(button.dataset.traces)) shown ? off.delete(trace) : off.add(trace);
    draw(button.dataset.plot);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  addEventListener("beforeprint", () => { root.classList.add("print"); drawAll(680); });
  addEventListener("afterprint", () => { root.classList.remove("print"); drawAll(); });

  // One after the other, so that the verdict can be read and scrolled meanwhile.
  const names = Object.keys(figures);
  const next = () => {
    const name = names.shift();
    if (name === undefined) { root.dataset.drawn = Object.keys(figures).length; return; }
    draw(name).then(() => { if (figures[name].wide) follow(name); setTimeout(next, 0); });
  };
  next();
})();

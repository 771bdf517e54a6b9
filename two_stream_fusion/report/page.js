"use strict";
// Views: pictures of one scene, under a slider or side by side, with one zoom for all. Tables: sorted by a click.

const MAX_ZOOM = 40;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function startView(view) {
  const stage = view.querySelector(".stage");
  const handle = view.querySelector(".handle");
  const cells = [...view.querySelectorAll(".cell")];
  const scale = view.querySelector("[data-scale]");
  const state = { zoom: 1, x: 0, y: 0, split: 50, turned: false,
    left: Number(view.dataset.left), right: Number(view.dataset.right) };
  const pointers = new Map();
  let isSplitting = false;

  const find = (selector) => view.querySelector(selector);
  const isSlider = () => view.dataset.mode === "slider";
  const port = () => cells[isSlider() ? state.left : 0].querySelector(".port");

  function show() {
    const box = port().getBoundingClientRect();
    state.x = clamp(state.x, 1 - state.zoom, 0);
    state.y = clamp(state.y, 1 - state.zoom, 0);
    stage.style.setProperty("--zoom", state.zoom);
    stage.style.setProperty("--x", state.x);
    stage.style.setProperty("--y", state.y);
    stage.style.setProperty("--split", `${state.split}%`);
    handle.style.setProperty("--height", `${box.height}px`);
    handle.style.setProperty("--at", `${(state.split / 100) * (state.turned ? box.height : box.width)}px`);
    handle.setAttribute("aria-valuenow", Math.round(state.split));
    handle.setAttribute("aria-orientation", state.turned ? "vertical" : "horizontal");
    const [left, right] = [state.left, state.right].map((place) => cells[place].dataset.name);
    handle.setAttribute("aria-valuetext", `${Math.round(state.split)} % ${left}, the rest ${right}`);
    view.classList.toggle("zoomed", state.zoom > 1);
    view.classList.toggle("turned", state.turned);
    const embedded = cells[0].querySelector(".photo").naturalWidth || 1;
    view.classList.toggle("pixels", (box.width * state.zoom) / embedded > 2);
    scale.textContent = `${Math.round((100 * box.width * state.zoom) / Number(view.dataset.width))} %`;
    cells.forEach((cell, place) => {
      cell.classList.toggle("left", place === state.left);
      cell.classList.toggle("right", place === state.right);
    });
    for (const side of ["left", "right"]) {
      find(`[data-side="${side}"] input[value="${state[side]}"]`).checked = true;
    }
    for (const button of view.querySelectorAll("[data-mode-button]")) {
      button.setAttribute("aria-pressed", button.dataset.modeButton === view.dataset.mode);
    }
    const difference = find("[data-difference-button]");
    if (difference) difference.setAttribute("aria-pressed", view.dataset.differences === "on");
    find("[data-side=left] legend").textContent = state.turned ? "Top" : "Left";
    find("[data-side=right] legend").textContent = state.turned ? "Below" : "Right";
    find("[data-turn]").setAttribute("aria-pressed", state.turned);
    for (const cell of cells) { // what is not seen is not read aloud
      cell.ariaHidden = isSlider() && !/\b(left|right)\b/.test(cell.className) ? "true" : null;
    }
  }

  // Rows of names that are longer than the window begin at the chosen one.
  function revealChosen() {
    for (const input of view.querySelectorAll("[data-side] input:checked")) {
      const label = input.parentElement;
      const chips = label.parentElement;
      chips.scrollLeft = label.offsetLeft - chips.offsetLeft - (chips.clientWidth - label.offsetWidth) / 2;
    }
  }

  // px, py: the place that stays, in parts of the picture's frame.
  function zoomTo(zoom, px = 0.5, py = 0.5) {
    const to = clamp(zoom, 1, MAX_ZOOM);
    state.x = px - ((px - state.x) * to) / state.zoom;
    state.y = py - ((py - state.y) * to) / state.zoom;
    state.zoom = to;
    show();
  }

  function move(dx, dy) {
    state.x += dx;
    state.y += dy;
    show();
  }

  function splitAt(percent) {
    state.split = clamp(percent, 0, 100);
    show();
  }

  function place(event) {
    const under = event.target.closest && event.target.closest(".port");
    const box = (under || port()).getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height, box };
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("a") || (event.pointerType === "mouse" && event.button !== 0)) return;
    pointers.set(event.pointerId, event);
    isSplitting = isSlider() && pointers.size === 1 &&
      (event.target === handle || (state.zoom === 1 && !(state.turned && event.pointerType === "touch")));
    stage.setPointerCapture(event.pointerId);
    if (event.target === handle) handle.focus({ preventScroll: true });
    if (isSplitting && event.target !== handle && event.pointerType === "mouse") follow(event);
  });

  function follow(event) {
    const box = port().getBoundingClientRect();
    splitAt(100 * (state.turned ? (event.clientY - box.top) / box.height : (event.clientX - box.left) / box.width));
  }

  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const box = port().getBoundingClientRect();
    if (pointers.size === 2) {
      const [other] = [...pointers.values()].filter((pointer) => pointer.pointerId !== event.pointerId);
      const apart = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY) || 1;
      const under = place({ target: event.target, clientX: (event.clientX + other.clientX) / 2,
        clientY: (event.clientY + other.clientY) / 2 });
      zoomTo(state.zoom * (apart(event) / apart(before)), clamp(under.x, 0, 1), clamp(under.y, 0, 1));
      move((event.clientX - before.clientX) / 2 / box.width, (event.clientY - before.clientY) / 2 / box.height);
    } else if (isSplitting) {
      follow(event);
    } else if (state.zoom > 1) {
      move((event.clientX - before.clientX) / box.width, (event.clientY - before.clientY) / box.height);
    }
    pointers.set(event.pointerId, event);
  });
  const end = (event) => pointers.delete(event.pointerId);
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);

  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // else the page scrolls
    event.preventDefault();
    const at = place(event);
    zoomTo(state.zoom * Math.exp(-event.deltaY / (event.deltaMode ? 8 : 240)), at.x, at.y);
  }, { passive: false });

  stage.addEventListener("dblclick", (event) => {
    if (event.target === handle || event.target.closest("a")) return;
    const at = place(event);
    zoomTo(state.zoom > 1 ? 1 : 4, at.x, at.y);
  });

  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("a")) return;
    const step = 0.1;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const splits = { ArrowLeft: -2, ArrowDown: state.turned ? 2 : -2, ArrowRight: 2, ArrowUp: state.turned ? -2 : 2,
      PageDown: -10, PageUp: 10, Home: -100, End: 100 };
    if (event.target === handle && event.key in splits) splitAt(state.split + splits[event.key]);
    else if (event.key in moves && state.zoom > 1) move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") zoomTo(state.zoom * 1.5);
    else if (event.key === "-") zoomTo(state.zoom / 1.5);
    else if (event.key === "0") zoomTo(1);
    else return;
    event.preventDefault();
  });

  view.addEventListener("change", (event) => {
    const side = event.target.closest("[data-side]");
    if (!side) return;
    state[side.dataset.side] = Number(event.target.value);
    show();
  });

  view.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const data = button.dataset;
    if (data.modeButton) view.dataset.mode = data.modeButton;
    else if ("differenceButton" in data) view.dataset.differences = view.dataset.differences === "on" ? "off" : "on";
    else if ("turn" in data) state.turned = !state.turned;
    else if ("swap" in data) [state.left, state.right] = [state.right, state.left];
    else if (data.zoom === "in") return zoomTo(state.zoom * 1.5);
    else if (data.zoom === "out") return zoomTo(state.zoom / 1.5);
    else if (data.zoom === "fit") return zoomTo(1);
    else if (data.zoom === "one") return zoomTo(Number(view.dataset.width) / port().clientWidth);
    show();
    revealChosen();
  });

  view.classList.add("live");
  for (const part of view.querySelectorAll(".bar, .sides, .hint, .handle")) part.hidden = false;
  new ResizeObserver(() => { // at once, and where a folded part is opened
    show();
    revealChosen();
  }).observe(stage);
  show();
}

function startTable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const text = row.cells[column].dataset.value;
    const number = Number(text);
    return text !== "" && !Number.isNaN(number) ? number : text;
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const rows = [...body.rows];
      const isText = rows.every((row) => typeof key(row, column) === "string");
      const order = head.getAttribute("aria-sort");
      // The largest number first; then the other way round.
      const next = order ? (order === "ascending" ? "descending" : "ascending") : isText ? "ascending" : "descending";
      const sign = next === "ascending" ? 1 : -1;
      rows.sort((a, b) => {
        const [x, y] = [key(a, column), key(b, column)];
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1; // what has no number stands last
        return sign * (typeof x === "number" ? x - y : x.localeCompare(y));
      });
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", next);
      body.append(...rows);
    });
  });
}

document.querySelectorAll(".view").forEach(startView);
document.querySelectorAll("table").forEach(startTable);

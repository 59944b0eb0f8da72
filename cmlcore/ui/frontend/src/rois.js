// Regions drawn by hand: rectangles and polygons in an SVG over the slide, edited by their corners.
import { camera, l0FromScreen, screenFromL0 } from "./shared/camera.js";
import { h } from "./shared/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const CLOSE_PX = 10; // a click this near the first corner closes the polygon
const LEAST_PX = 8; // level-0 px; anything smaller was a slip of the hand

function s(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
  return node;
}

/** Area of a polygon in px² (shoelace). */
export function area(polygon) {
  let sum = 0;
  polygon.forEach(([x, y], i) => {
    const [x1, y1] = polygon[(i + 1) % polygon.length];
    sum += x * y1 - x1 * y;
  });
  return Math.abs(sum) / 2;
}

/** Whether any two edges of a closed polygon cross. */
export function crosses(polygon) {
  const side = (a, b, c) => Math.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));
  const n = polygon.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 2; j < n; j++) {
      if (i === 0 && j === n - 1) continue;
      const [a, b, c, d] = [polygon[i], polygon[i + 1], polygon[j], polygon[(j + 1) % n]];
      if (side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0) return true;
    }
  }
  return false;
}

export class RoiLayer {
  /** @param onChange(rois) after a person's edit; @param onTool(tool) when the tool changes; @param onSay(sentence) */
  constructor(osd, slide, { onChange, onTool, onSay }) {
    Object.assign(this, { osd, slide, onChange, onTool, onSay });
    this.rois = [];
    this.tool = null; // null: pan
    this.draft = null; // corners of the polygon being drawn, or [from, to] of the rectangle
    this.active = -1; // region whose corners show
    this.svg = s("svg", { class: "cml-rois", "aria-hidden": "true" });
    osd.canvas.append(this.svg);
    this.draw = this.draw.bind(this);
    osd.addHandler("update-viewport", this.draw);
    osd.addHandler("resize", this.draw);
    for (const type of ["pointerdown", "pointermove", "pointerup", "dblclick"]) {
      this.svg.addEventListener(type, (e) => this[`_${type}`](e));
    }
  }

  close() {
    this.osd.removeHandler("update-viewport", this.draw);
    this.osd.removeHandler("resize", this.draw);
    this.svg.remove();
  }

  set(rois) {
    this.rois = rois.map((r) => r.map((p) => [...p]));
    this.active = -1;
    this.draft = null;
    this.draw();
  }

  setTool(tool) {
    this.tool = tool;
    this.draft = null;
    this.active = -1;
    this.svg.classList.toggle("cml-drawing", tool !== null);
    this.onTool(tool);
    this.draw();
  }

  /** Keys while a viewer has the focus. Returns whether the key was used. */
  key(key) {
    if (key === "Escape" && (this.draft || this.tool || this.active >= 0)) {
      if (this.draft) this.draft = null;
      else this.setTool(null);
      this.active = -1;
    } else if (key === "Enter" && this.tool === "polygon" && this.draft) this.#finish();
    else if (key === "Backspace" && this.tool === "polygon" && this.draft) {
      this.draft.pop();
      if (!this.draft.length) this.draft = null;
    } else if ((key === "Delete" || key === "Backspace") && this.active >= 0) this.remove();
    else return false;
    this.draw();
    return true;
  }

  /** Remove the chosen region, or all of them where none is chosen. */
  remove() {
    if (this.active >= 0) this.rois.splice(this.active, 1);
    else this.rois = [];
    this.active = -1;
    this.draft = null;
    this.draw();
    this.onChange(this.rois);
  }

  #point(e) {
    const frame = this.svg.getBoundingClientRect();
    const p = l0FromScreen(camera(this.osd), { x: e.clientX - frame.left, y: e.clientY - frame.top });
    return [
      Math.round(Math.min(Math.max(p.x, 0), this.slide.width)),
      Math.round(Math.min(Math.max(p.y, 0), this.slide.height)),
    ];
  }

  _pointerdown(e) {
    if (e.button !== 0) return;
    const handle = e.target.dataset?.corner;
    const region = e.target.dataset?.region;
    if (!this.tool && region === undefined) return;
    e.stopPropagation();
    if (handle !== undefined) {
      this.grip = { region: +region, corner: +handle };
      this.svg.setPointerCapture(e.pointerId);
    } else if (!this.tool) {
      this.active = this.active === +region ? -1 : +region;
    } else if (this.tool === "rectangle") {
      this.draft = [this.#point(e), this.#point(e)];
      this.svg.setPointerCapture(e.pointerId);
    } else {
      this.#corner(e);
    }
    this.draw();
  }

  #corner(e) {
    if (e.detail > 1) return; // the second press of a double click closes, it adds no corner
    const p = this.#point(e);
    if (!this.draft) this.draft = [p];
    else {
      const cam = camera(this.osd);
      const a = screenFromL0(cam, { x: this.draft[0][0], y: this.draft[0][1] });
      const b = screenFromL0(cam, { x: p[0], y: p[1] });
      if (this.draft.length >= 3 && Math.hypot(a.x - b.x, a.y - b.y) <= CLOSE_PX) return this.#finish();
      this.draft.push(p);
    }
    return undefined;
  }

  _pointermove(e) {
    this.hover = this.tool ? this.#point(e) : null;
    if (this.grip) {
      e.stopPropagation();
      this.#drag(this.#point(e));
    } else if (this.tool === "rectangle" && this.draft) {
      e.stopPropagation();
      this.draft[1] = this.#point(e);
    } else if (!this.draft) return;
    this.draw();
  }

  /** Move a corner; a rectangle stays one. */
  #drag([x, y]) {
    const roi = this.rois[this.grip.region];
    const k = this.grip.corner;
    const [ox, oy] = roi[k];
    const upright = roi.length === 4 && roi.every((p, i) => {
      const q = roi[(i + 1) % 4];
      return p[0] === q[0] || p[1] === q[1];
    });
    if (upright) {
      for (const p of roi) {
        if (p[0] === ox) p[0] = x;
        if (p[1] === oy) p[1] = y;
      }
    }
    roi[k] = [x, y];
  }

  _pointerup(e) {
    if (this.grip) {
      e.stopPropagation();
      this.grip = null;
      this.onChange(this.rois);
    } else if (this.tool === "rectangle" && this.draft) {
      e.stopPropagation();
      const [[x0, y0], [x1, y1]] = this.draft;
      this.draft = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
      this.#finish();
    }
    this.draw();
  }

  _dblclick(e) {
    if (this.tool !== "polygon" || !this.draft) return;
    e.stopPropagation();
    this.#finish();
    this.draw();
  }

  #finish() {
    const polygon = this.draft;
    const xs = polygon.map((p) => p[0]);
    const ys = polygon.map((p) => p[1]);
    const wide = Math.max(...xs) - Math.min(...xs) >= LEAST_PX && Math.max(...ys) - Math.min(...ys) >= LEAST_PX;
    if (polygon.length >= 3 && crosses(polygon)) {
      this.onSay("The edges of a region must not cross; set the last corners anew.");
      return;
    }
    this.draft = null;
    if (polygon.length < 3 || !wide) return;
    if (area(polygon) < 1) return;
    this.rois.push(polygon);
    this.setTool(null);
    this.onChange(this.rois);
  }

  draw() {
    if (!this.osd.world.getItemCount()) return;
    const cam = camera(this.osd);
    const at = ([x, y]) => {
      const p = screenFromL0(cam, { x, y });
      return `${p.x.toFixed(1)},${p.y.toFixed(1)}`;
    };
    const parts = [];
    this.rois.forEach((roi, i) => {
      const points = roi.map(at).join(" ");
      const chosen = i === this.active;
      parts.push(s("polygon", { points, class: "cml-roi-casing" }));
      const shape = s("polygon", { points, class: `cml-roi${chosen ? " cml-chosen" : ""}` });
      shape.dataset.region = i;
      parts.push(shape, this.#label(roi, i, cam));
      if (chosen && !this.tool) roi.forEach((p, k) => parts.push(this.#corner_handle(p, i, k, cam)));
    });
    if (this.draft) parts.push(...this.#draftShape(at, cam));
    this.svg.replaceChildren(...parts);
  }

  #corner_handle([x, y], region, corner, cam) {
    const p = screenFromL0(cam, { x, y });
    const node = s("circle", { cx: p.x, cy: p.y, r: 6, class: "cml-corner" });
    node.dataset.region = region;
    node.dataset.corner = corner;
    return node;
  }

  #label(roi, i, cam) {
    const top = roi.reduce((best, p) => (p[1] < best[1] || (p[1] === best[1] && p[0] < best[0]) ? p : best));
    const p = screenFromL0(cam, { x: top[0], y: top[1] });
    const text = s("text", { x: p.x, y: p.y - 8, class: "cml-roi-label" });
    const mpp = this.slide.mpp;
    const mm2 = mpp ? (area(roi) * mpp * mpp) / 1e6 : null;
    const size = mm2 === null ? "" : mm2 >= 0.01 ? ` · ${mm2.toPrecision(3)} mm²` : ` · ${Math.round(mm2 * 1e6)} µm²`;
    text.textContent = `${i + 1}${size}`;
    return text;
  }

  #draftShape(at, cam) {
    if (this.tool === "rectangle") {
      const [[x0, y0], [x1, y1]] = this.draft;
      const points = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(at).join(" ");
      return [s("polygon", { points, class: "cml-roi-casing" }), s("polygon", { points, class: "cml-roi cml-chosen" })];
    }
    const points = [...this.draft, ...(this.hover ? [this.hover] : [])].map(at).join(" ");
    const first = screenFromL0(cam, { x: this.draft[0][0], y: this.draft[0][1] });
    return [
      s("polyline", { points, class: "cml-roi-casing" }),
      s("polyline", { points, class: "cml-roi cml-chosen" }),
      s("circle", { cx: first.x, cy: first.y, r: 5, class: "cml-corner" }),
    ];
  }
}

/** Buttons' help for the tools. */
export const TOOL_HELP = {
  rectangle: "Draw a rectangle (R): press, drag, release",
  polygon: "Draw a polygon (P): click the corners, double click to close",
};

/** The hint shown while a tool is on. */
export function hint(tool) {
  const text = tool === "rectangle" ? "Drag to draw a rectangle · Esc to stop"
    : "Click the corners · double click or Enter closes · Backspace takes one back · Esc stops";
  return h("div.cml-panel.cml-hint", { role: "status" }, text);
}

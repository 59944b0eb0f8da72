// The slide viewer as a Streamlit component: one OpenSeadragon, the layers over it, and the talk with Python.
import OpenSeadragon from "openseadragon";
import { CellLayer } from "./cells/layer.js";
import { announce } from "./hook.js";
import { Legend } from "./legend.js";
import { Popover } from "./popover.js";
import { RoiLayer, hint } from "./rois.js";
import { ScaleBar } from "./scale.js";
import { camera, l0FromScreen, lookAt, screenFromL0 } from "./shared/camera.js";
import { debounce, getJson, h, styleOnce } from "./shared/dom.js";
import { drawers, tileSource } from "./source.js";
import css from "./style.css";
import { join } from "./sync.js";
import { Toolbar } from "./toolbar.js";

const NAVIGATOR_PX = 150; // its longer side
const NARROW_PX = 700; // a viewer narrower than this folds its legend at first
const WAIT_MS = 1500; // between looks at a slide that is still being prepared
const SETTLE_MS = 400; // rest of the view before it is written to the URL

const instances = new WeakMap(); // parentElement → Viewer

export default function mount(component) {
  styleOnce("cml-style", css);
  const { parentElement } = component;
  let viewer = instances.get(parentElement);
  if (!viewer) {
    viewer = new Viewer(parentElement);
    instances.set(parentElement, viewer);
  }
  viewer.update(component);
  return () => {
    instances.delete(parentElement);
    viewer.destroy();
  };
}

class Viewer {
  constructor(parent) {
    this.data = {};
    this.state = { hidden: new Set(), minScore: 0, opacity: 0.95, visible: true };
    this.stage = h("div.cml-stage");
    this.message = h("div.cml-message", { role: "status", hidden: true });
    this.toast = h("div.cml-panel.cml-toast", { role: "alert", hidden: true });
    this.title = h("div.cml-panel.cml-title", { hidden: true });
    this.ghost = h("div.cml-ghost", { hidden: true });
    this.root = h("div.cml-viewer", {}, this.stage, this.title, this.ghost, this.message, this.toast);
    parent.append(this.root);
    this.#createOsd();
    this.#createParts();
    this.resized = new ResizeObserver(() => this.osd.forceResize());
    this.resized.observe(this.root);
  }

  #createOsd() {
    this.osd = OpenSeadragon({
      element: this.stage,
      drawer: drawers(),
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "BOTTOM_RIGHT",
      navigatorSizeRatio: 0.16,
      navigatorAutoFade: false,
      navigatorBackground: "transparent",
      navigatorOpacity: 1,
      navigatorBorderColor: "transparent",
      navigatorDisplayRegionColor: "var(--cml-accent)",
      animationTime: 0.5,
      springStiffness: 9,
      zoomPerScroll: 1.25,
      minZoomImageRatio: 0.8,
      maxZoomPixelRatio: 8,
      visibilityRatio: 0.3,
      smoothTileEdgesMinZoom: Infinity,
      imageLoaderLimit: 6,
      maxImageCacheCount: 400,
      maxTilesPerFrame: 6,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true, flickEnabled: false },
      gestureSettingsPen: { clickToZoom: false },
    });
    this.osd.cmlRoot = this.root;
    this.osd.canvas.setAttribute("aria-label", "Slide; arrow keys pan, plus and minus zoom, 0 shows the whole");
    this.osd.addHandler("tile-load-failed", ({ tile }) => this.#tileFailed(tile));
    this.osd.addHandler("canvas-click", (e) => this.#click(e));
    this.osd.addHandler("update-viewport", () => this.#moved());
    this.root.addEventListener("keydown", (e) => this.#key(e), { capture: true });
    this.root.addEventListener("pointermove", (e) => this.#pointer(e));
    this.root.addEventListener("pointerleave", () => this.sync?.point(null));
    this.root.addEventListener("fullscreenchange", () => this.#card());
    this.writeUrl = debounce(() => this.#writeUrl(), SETTLE_MS);
  }

  #createParts() {
    this.scale = new ScaleBar();
    this.toolbar = new Toolbar(this.osd, this.root);
    this.legend = new Legend(this.state, () => this.#filtered());
    this.popover = new Popover(this.osd, this.root, () => this.#select(null));
    this.root.append(this.toolbar.root, this.legend.root, this.scale.root);
    this.scale.root.hidden = true;
  }

  /** Called for every rerun that changes the data; setters are fresh each time. */
  update({ data, setStateValue }) {
    const before = this.data;
    this.data = data;
    this.setState = setStateValue;
    const changed = (name) => JSON.stringify(before[name]) !== JSON.stringify(data[name]);
    this.title.textContent = data.title;
    this.title.hidden = !data.title;
    if (changed("name")) {
      this.withdraw?.();
      this.withdraw = announce(data.name, this.#facts());
    }
    if (changed("filters")) this.#applyFilters();
    if (changed("slide")) {
      this.#open(before.slide === undefined);
      return; // opening sets up all that follows
    }
    if (!this.slide) return;
    if (changed("mpp") && data.mpp != null) {
      this.slide.mpp = data.mpp; // entered or corrected while the slide was open
      this.rois?.draw();
      this.#moved();
    }
    if (changed("overlay")) this.#openCells();
    if (changed("rois")) this.rois.set(data.rois);
    if (changed("draw")) this.toolbar.setDraw(data.draw, this.rois);
    if (changed("position") && data.position) this.#look(data.position);
  }

  #applyFilters() {
    const { classes = null, min_score: minScore = 0 } = this.data.filters ?? {};
    this.wantedClasses = classes;
    this.state.minScore = minScore;
    this.#hideOthers();
  }

  /** Classes outside Python's filter are hidden, else those the index hides at first; known once it is here. */
  #hideOthers() {
    const hidden = (c) => (this.wantedClasses ? !this.wantedClasses.includes(c.key) : c.hidden);
    this.state.hidden = new Set((this.cells?.index?.classes ?? []).filter(hidden).map((c) => c.key));
    this.legend.refresh();
    this.cells?.request();
  }

  /** The person changed the filter here. */
  #filtered() {
    this.cells?.request();
    this.sync?.filter(this.state);
  }

  #joinGroup(name) {
    return join(name, this.osd, {
      onPointer: (p) => this.#ghost(p),
      onFilter: ({ hidden, minScore, opacity, visible }) => {
        Object.assign(this.state, { hidden: new Set(hidden), minScore, opacity, visible });
        this.legend.refresh();
        this.cells?.request();
      },
    });
  }

  // -- slide ----------------------------------------------------------------------------------------

  async #open(first) {
    this.opening?.abort();
    this.opening = new AbortController();
    const { signal } = this.opening;
    this.#closeSlide();
    let slide;
    try {
      slide = await getJson(this.data.slide, signal);
    } catch (error) {
      if (!signal.aborted) this.#say(error.message);
      return;
    }
    if (signal.aborted) return;
    if (slide.waiting) {
      this.#say(slide.waiting);
      this.again = setTimeout(() => this.#open(first), WAIT_MS);
      return;
    }
    this.#say(null);
    this.slide = slide;
    this.osd.addOnceHandler("open", () => this.#opened(first));
    this.osd.open(tileSource(slide));
  }

  #closeSlide() {
    clearTimeout(this.again);
    this.popover.close();
    this.sync?.leave();
    this.cells?.close();
    this.rois?.close();
    this.sync = this.cells = this.rois = this.slide = null;
    this.osd.close();
    this.legend.show(null);
    this.scale.root.hidden = true;
  }

  #opened(first) {
    const { data } = this;
    this.cells = new CellLayer(this.osd, this.slide, this.state, {
      onIndex: (index) => this.#indexed(index),
      onFail: (sentence) => this.#flash(sentence),
    });
    this.rois = new RoiLayer(this.osd, this.slide, {
      onChange: (rois) => this.setState("rois", rois),
      onTool: (tool) => this.#tool(tool),
      onSay: (sentence) => this.#flash(sentence),
    });
    this.rois.set(data.rois);
    this.toolbar.setDraw(data.draw, this.rois);
    this.#openCells();
    if (data.group) this.sync = this.#joinGroup(data.group);
    const position = data.position ?? (first ? this.#readUrl() : null);
    if (position) this.#look(position);
    this.scale.root.hidden = false;
    this.#shapeNavigator();
    this.legend.fold(this.root.clientWidth < NARROW_PX);
    this.#moved();
  }

  /** The overview gets the slide's own proportions. */
  #shapeNavigator() {
    const { width, height } = this.slide;
    const unit = NAVIGATOR_PX / Math.max(width, height);
    const { navigator } = this.osd;
    navigator.setWidth(Math.max(40, Math.round(width * unit)));
    navigator.setHeight(Math.max(40, Math.round(height * unit)));
    navigator.updateSize();
  }

  #openCells() {
    this.popover.close();
    this.legend.show(null);
    this.seen = null;
    this.cells.open(this.data.overlay);
  }

  #indexed(index) {
    this.legend.show(index);
    if (this.seen !== this.data.overlay) {
      this.seen = this.data.overlay;
      this.#hideOthers();
    }
  }

  async #tileFailed(tile) {
    if (this.failed) return; // one look at the reason is enough
    this.failed = true;
    const response = await fetch(tile.getUrl());
    if (!response.ok) {
      const body = await response.json().catch(() => null);
      this.#flash(body?.error ?? "A part of the slide could not be loaded; reload the page to try again.");
    }
    setTimeout(() => { this.failed = false; }, 10000);
  }

  // -- view -----------------------------------------------------------------------------------------

  #moved() {
    if (!this.slide || !this.osd.world.getItemCount()) return;
    this.scale.update(this.slide, camera(this.osd).scale);
    this.writeUrl();
  }

  #look([x, y, scale]) {
    this.sync?.lead();
    lookAt(this.osd, { x, y, scale });
  }

  /** Centre in level-0 px and scale in CSS px per level-0 px. */
  #position() {
    const cam = camera(this.osd);
    return [cam.x + cam.w / 2 / cam.scale, cam.y + cam.h / 2 / cam.scale, cam.scale];
  }

  #readUrl() {
    const parts = (new URL(location.href).searchParams.get(this.data.url) ?? "").split(",").map(Number);
    return parts.length === 3 && parts.every(Number.isFinite) && parts[2] > 0 ? parts : null;
  }

  #writeUrl() {
    if (!this.slide || !this.root.isConnected) return;
    const [x, y, scale] = this.#position();
    const url = new URL(location.href);
    url.searchParams.set(this.data.url, `${Math.round(x)},${Math.round(y)},${+scale.toPrecision(4)}`);
    history.replaceState(history.state, "", url.href.replaceAll("%2C", ","));
  }

  // -- hands ----------------------------------------------------------------------------------------

  #click(e) {
    if (!e.quick || !this.cells || this.rois.tool) return;
    const p = l0FromScreen(camera(this.osd), e.position);
    this.#select(this.cells.at(p.x, p.y));
  }

  #select(cell) {
    const before = this.cells.selected?.id ?? null;
    this.cells.select(cell);
    this.#card();
    if ((cell?.id ?? null) !== before) this.setState("cell", cell?.id ?? null);
  }

  /** The chosen cell's facts beside it, unless the page has a panel for them and that can be seen. */
  #card() {
    const cell = this.cells?.selected;
    if (cell && (this.data.card || document.fullscreenElement === this.root)) this.popover.open(cell, this.data.cells);
    else this.popover.close();
  }

  #key(e) {
    if (!this.rois || e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select")) return;
    const used = this.rois.key(e.key) || this.#shortcut(e.key);
    const ours = "rRfF".includes(e.key); // OpenSeadragon would rotate or flip, Streamlit would rerun
    if (used || ours) e.stopPropagation();
    if (used) e.preventDefault();
  }

  #shortcut(key) {
    const tool = { r: "rectangle", p: "polygon" }[key];
    if (tool && this.data.draw) {
      this.rois.setTool(this.rois.tool === tool ? null : tool);
    } else if (key === "c" && this.cells.index) {
      this.state.visible = !this.state.visible;
      this.legend.refresh();
      this.#filtered();
    } else if (key === "Escape" && this.cells.selected) {
      this.#select(null);
    } else return false;
    return true;
  }

  #tool(tool) {
    this.toolbar.showTool(tool);
    this.hint?.remove();
    this.hint = tool ? hint(tool) : null;
    if (this.hint) this.root.append(this.hint);
  }

  #pointer(e) {
    if (!this.sync || !this.slide) return;
    const frame = this.root.getBoundingClientRect();
    this.sync.point(l0FromScreen(camera(this.osd), { x: e.clientX - frame.left, y: e.clientY - frame.top }));
    this.ghost.hidden = true;
  }

  #ghost(p) {
    this.ghost.hidden = !p;
    if (!p) return;
    const at = screenFromL0(camera(this.osd), p);
    this.ghost.style.transform = `translate(${at.x}px, ${at.y}px)`;
  }

  // -- words ----------------------------------------------------------------------------------------

  /** A sentence in place of the picture; null: the picture. */
  #say(sentence) {
    this.message.hidden = !sentence;
    this.message.textContent = sentence ?? "";
  }

  /** A sentence over the picture for some seconds. */
  #flash(sentence) {
    this.toast.textContent = sentence;
    this.toast.hidden = false;
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => { this.toast.hidden = true; }, 8000);
  }

  #facts() {
    const viewer = this;
    return {
      osd: this.osd,
      get loaded() {
        return viewer.slide != null && (viewer.osd.world.getItemAt(0)?.getFullyLoaded() ?? false);
      },
      get cells() { return viewer.cells?.report ?? null; },
      get position() { return viewer.slide ? viewer.#position() : null; },
      get message() { return viewer.message.textContent; },
      get rois() { return viewer.rois?.rois ?? []; },
      look: (x, y, scale) => viewer.#look([x, y, scale]),
      screen: (x, y) => screenFromL0(camera(viewer.osd), { x, y }),
    };
  }

  destroy() {
    this.writeUrl.cancel();
    this.opening?.abort();
    this.resized.disconnect();
    this.#closeSlide();
    this.popover.destroy();
    this.withdraw?.();
    clearTimeout(this.toastTimer);
    this.osd.destroy();
    this.root.remove();
  }
}

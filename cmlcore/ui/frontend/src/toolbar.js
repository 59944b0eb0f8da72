// Buttons of the viewer.
import { h } from "./shared/dom.js";
import { icon } from "./shared/icons.js";
import { TOOL_HELP } from "./rois.js";

function button(name, title, onclick) {
  return h("button.cml-icon", { type: "button", title, "aria-label": title, onclick }, icon(name));
}

export class Toolbar {
  constructor(osd, root) {
    const zoom = (factor) => () => { osd.viewport.zoomBy(factor); osd.viewport.applyConstraints(); };
    const full = () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen());
    this.root = h("div.cml-tools", { role: "toolbar", "aria-label": "Viewer" },
      h("div.cml-panel.cml-group", {},
        button("plus", "Zoom in (+)", zoom(1.6)),
        button("minus", "Zoom out (−)", zoom(1 / 1.6)),
        button("home", "Whole slide (0)", () => osd.viewport.goHome()),
        document.fullscreenEnabled ? button("full", "Full screen", full) : null));
  }

  /** Drawing tools for the shape Python allows; null: none. */
  setDraw(shape, rois) {
    this.draw?.remove();
    this.draw = null;
    this.buttons = {};
    if (!shape) return;
    const shapes = shape === "rectangle" ? ["rectangle", "polygon"] : ["polygon", "rectangle"];
    const toggle = (tool) => () => rois.setTool(rois.tool === tool ? null : tool);
    for (const name of shapes) this.buttons[name] = button(name, TOOL_HELP[name], toggle(name));
    this.draw = h("div.cml-panel.cml-group", {}, ...Object.values(this.buttons),
      button("trash", "Remove the chosen region, or all (Delete)", () => rois.remove()));
    this.root.append(this.draw);
  }

  showTool(tool) {
    for (const [name, node] of Object.entries(this.buttons ?? {})) {
      node.setAttribute("aria-pressed", String(name === tool));
    }
  }
}

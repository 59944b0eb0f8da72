// Line icons on a 20 × 20 grid, drawn for this product.
const PATHS = {
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  home: "M3.5 9.5 10 4l6.5 5.5M5.5 8v8h9V8",
  full: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",
  hand: "M10 3v14M3 10h14M10 3 8 5m2-2 2 2M10 17l-2-2m2 2 2-2M3 10l2-2m-2 2 2 2M17 10l-2-2m2 2-2 2",
  rectangle: "M4 5.5h12v9H4z",
  polygon: "M10 3.5 16.5 8 14 16H6L3.5 8z",
  trash: "M4.5 6h11M8 6V4h4v2M6 6l.7 10h6.6L14 6M8.7 9v4.5M11.3 9v4.5",
  layers: "M10 4 17 8l-7 4-7-4zM4 12l6 3.5 6-3.5",
  close: "M5 5l10 10M15 5 5 15",
  upload: "M10 13V4M6.5 7.5 10 4l3.5 3.5M4 13v3h12v-3",
  retry: "M15.5 8A6 6 0 1 0 16 11M15.8 4v4h-4",
  check: "M4.5 10.5 8.5 14.5 15.5 6",
  alert: "M10 3.5 17.5 16h-15zM10 8.5v3.5M10 14v.2",
};

/** An icon as an SVG element; decorative, so hidden from screen readers. */
export function icon(name, size = 20) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [k, v] of Object.entries({
    viewBox: "0 0 20 20", width: size, height: size, fill: "none", stroke: "currentColor",
    "stroke-width": 1.6, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true",
  })) svg.setAttribute(k, v);
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

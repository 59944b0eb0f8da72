// The one place where OpenSeadragon's viewport meets level-0 pixels. No rotation, no flip.

/** What the viewport shows now: top left `x`, `y` in level-0 px, `scale` in CSS px per level-0 px, size in CSS px. */
export function camera(osd) {
  const bounds = osd.viewport.getBoundsNoRotate(true);
  const size = osd.viewport.getContainerSize();
  const imageWidth = osd.world.getItemAt(0)?.source.dimensions.x ?? 1;
  return {
    x: bounds.x * imageWidth,
    y: bounds.y * imageWidth,
    scale: size.x / (bounds.width * imageWidth),
    w: size.x,
    h: size.y,
  };
}

/** Level-0 box a camera sees. */
export function boxOf(cam) {
  return { x0: cam.x, y0: cam.y, x1: cam.x + cam.w / cam.scale, y1: cam.y + cam.h / cam.scale };
}

/** CSS px in the viewer → level-0 px. */
export function l0FromScreen(cam, p) {
  return { x: cam.x + p.x / cam.scale, y: cam.y + p.y / cam.scale };
}

/** Level-0 px → CSS px in the viewer. */
export function screenFromL0(cam, p) {
  return { x: (p.x - cam.x) * cam.scale, y: (p.y - cam.y) * cam.scale };
}

/** Look at level-0 (x, y) with `scale` CSS px per level-0 px. */
export function lookAt(osd, { x, y, scale }, immediately = true) {
  const imageWidth = osd.world.getItemAt(0).source.dimensions.x;
  const zoom = (scale * imageWidth) / osd.viewport.getContainerSize().x;
  osd.viewport.zoomTo(zoom, null, immediately);
  osd.viewport.panTo({ x: x / imageWidth, y: y / imageWidth }, immediately);
  if (!immediately) osd.viewport.applyConstraints();
}

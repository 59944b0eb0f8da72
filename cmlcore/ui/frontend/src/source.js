// A slide's scene as OpenSeadragon's tile source: level 0 is full resolution on our side, the smallest on theirs.
import OpenSeadragon from "openseadragon";

/** @param slide the answer of /slides/{id}/{scene}.json */
export function tileSource(slide) {
  const top = slide.levels - 1;
  return new OpenSeadragon.TileSource({
    width: slide.width,
    height: slide.height,
    tileSize: slide.tile,
    tileOverlap: 0,
    minLevel: 0,
    maxLevel: top,
    ready: true,
    getTileUrl: (level, x, y) => `${slide.tiles}${top - level}/${x}_${y}.jpeg`,
  });
}

/** Drawers to try: WebGL on software renderers (no GPU, remote desktop) is 10–30 times slower than the canvas. */
export function drawers() {
  const gl = document.createElement("canvas").getContext("webgl");
  if (!gl) return ["canvas"];
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : gl.getParameter(gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name) ? ["canvas"] : ["webgl", "canvas"];
}

// Viewers with the same group name pan and zoom together, share the cell filter, and show each other's pointer.
import { camera, lookAt } from "./shared/camera.js";

const groups = new Map(); // name → Set of members

/**
 * Join a group. The viewer last touched leads; the others copy its centre and scale every frame.
 * @returns leave()
 */
export function join(name, osd, { onPointer, onFilter }) {
  if (!groups.has(name)) groups.set(name, { members: new Set(), leader: null });
  const group = groups.get(name);
  const me = { osd, onPointer, onFilter };
  group.members.add(me);

  const others = () => [...group.members].filter((member) => member !== me);
  const lead = () => { group.leader = me; };
  const copy = () => {
    if (group.leader !== me) return;
    const cam = camera(osd);
    const target = { x: cam.x + cam.w / 2 / cam.scale, y: cam.y + cam.h / 2 / cam.scale, scale: cam.scale };
    for (const other of others()) if (other.osd.world.getItemCount()) lookAt(other.osd, target);
  };
  const point = (p) => others().forEach((other) => other.onPointer(p));
  const filter = (state) => others().forEach((other) => other.onFilter(state));
  const follow = () => { // a viewer that opens late goes where the others are
    const leader = group.leader;
    if (leader && leader !== me && leader.osd.world.getItemCount()) {
      const cam = camera(leader.osd);
      lookAt(osd, { x: cam.x + cam.w / 2 / cam.scale, y: cam.y + cam.h / 2 / cam.scale, scale: cam.scale });
    }
  };

  const events = ["pointerdown", "wheel", "keydown", "touchstart"];
  for (const event of events) osd.cmlRoot.addEventListener(event, lead, { capture: true, passive: true });
  osd.addHandler("viewport-change", copy);
  follow();
  return {
    lead,
    point,
    filter,
    leave() {
      for (const event of events) osd.cmlRoot.removeEventListener(event, lead, { capture: true });
      osd.removeHandler("viewport-change", copy);
      group.members.delete(me);
      if (group.leader === me) group.leader = null;
      if (!group.members.size) groups.delete(name);
    },
  };
}

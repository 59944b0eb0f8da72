// window.__cml: what automated browser tests may ask of the page's viewers.

const viewers = new Map();
window.__cml ??= { viewers, get: (name) => viewers.get(name) };

/** Announce a viewer under its name; returns a function that takes it back. */
export function announce(name, facts) {
  const map = window.__cml.viewers;
  map.set(name, facts);
  return () => {
    if (map.get(name) === facts) map.delete(name);
  };
}

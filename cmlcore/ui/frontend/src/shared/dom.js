// Small helpers to build elements; everything a user typed goes in as text, never as markup.

/** Make an element: `h("button.cml-btn", {title: "Home", onclick}, ...children)`. */
export function h(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((c) => c != null));
  return node;
}

/** Put a style sheet into the page once. */
export function styleOnce(id, css) {
  if (document.getElementById(id)) return;
  const style = document.createElement("style");
  style.id = id;
  style.textContent = css;
  document.head.append(style);
}

/** The sentence of a failed answer of our server, or a plain one where there is none. */
export async function sentenceOf(response) {
  const body = await response.json().catch(() => null);
  return body?.error ?? `The server answered ${response.status}; try again.`;
}

/** GET JSON; throws an Error whose message is the server's sentence. */
export async function getJson(url, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Error(await sentenceOf(response));
  return response.json();
}

/** Call `action` once `wait` ms after the last call. */
export function debounce(action, wait) {
  let timer = 0;
  const debounced = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...args), wait);
  };
  debounced.cancel = () => clearTimeout(timer);
  return debounced;
}

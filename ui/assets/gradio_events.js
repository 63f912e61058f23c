// What Gradio's events tell the own components: its `js` functions are texts, which reach a component by a name of the window only.
const listeners = new Map();
const told = new Set();

// Call a function when Gradio has told of `opened` (the page is drawn), `asking` or `followed` (a reply has come to its end).
// That the page is drawn may have been told before.
export function onGradio(name, listener) {
  listeners.set(name, [...(listeners.get(name) ?? []), listener]);
  if (name === 'opened' && told.has(name)) listener();
}

window.longviewTell = (name) => {
  told.add(name);
  for (const listener of listeners.get(name) ?? []) listener();
};

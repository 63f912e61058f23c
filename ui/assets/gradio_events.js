// What Gradio's events tell the own components: its `js` functions are texts, which reach a component by a name of the window only.
const listeners = new Map();
let tellOpened = null;

// Resolved when Gradio has drawn and filled the page.
export const opened = new Promise((resolve) => { tellOpened = resolve; });

// Call a function whenever Gradio tells of `asking` or `followed` (a reply has come to its end).
export function onGradio(name, listener) {
  listeners.set(name, [...(listeners.get(name) ?? []), listener]);
}

window.longviewTell = (name) => {
  if (name === 'opened') tellOpened();
  for (const listener of listeners.get(name) ?? []) listener();
};

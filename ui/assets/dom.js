// Elements from plain values: every text is set as text, so that nothing of it is read as HTML.
import { plain } from './format.js';

// Make an element. Attributes that are false or null are left out; functions are listeners; children are elements or texts.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === 'function') made.addEventListener(key, value);
    else if (key === 'text') made.textContent = value;
    else if (key === 'value') made.value = value;
    else made.setAttribute(key, value === true ? '' : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// Open a shadow root with the styles of all own components, and with those of a further file: those of Gradio stay outside of it.
export function shadow(host, ...styles) {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  root.replaceChildren(...['components.css', ...styles].map((name) => element('link', { rel: 'stylesheet', href: new URL(name, import.meta.url).href })));
  return root;
}

// Set the text of a field of Gradio as if it had been typed.
export function setFieldValue(field, value) {
  field.value = value;
  field.dispatchEvent(new Event('input', { bubbles: true }));
}

// Show a sentence at the bottom of the page for some seconds, with at most one action: `{ label, run }`, or `{ label, href }` for a link.
export function toast(message, action = null) {
  let host = document.querySelector('longview-toasts');
  if (!host) {
    host = document.createElement('longview-toasts');
    shadow(host);
    document.body.append(host);
  }
  const row = element('div', { class: 'toast', role: 'status' }, element('span', { text: plain(message) }));
  if (action?.href) row.append(element('a', { class: 'button', href: action.href, text: action.label }));
  else if (action) row.append(element('button', { text: action.label, click: () => { row.remove(); action.run(); } }));
  host.shadowRoot.append(row);
  setTimeout(() => row.remove(), action ? 15000 : 7000);
}

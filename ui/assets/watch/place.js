// The parts of the page that are drawn before Gradio has loaded, and which move into Gradio's page as soon as that is there.
import { element } from '../dom.js';

// Gradio's page has a `longview-place` for each of these.
const PARTS = { shell: ['longview-uploads', 'longview-queue'], watch: ['longview-watch'], panels: ['longview-panels'] };

const before = element('div', { id: 'longview-before' },
  Object.entries(PARTS).map(([name, parts]) => element('div', { 'data-part': name }, parts.map((part) => element(part)))));
// What holds each part now.
const holders = new Map([...before.children].map((holder) => [holder.dataset.part, holder]));
const places = new Map();
let tellPlaced = null;
// Whether a button of the pointer is down, when something was scrolled last, and the time between two looks at them.
let isPressed = false;
let scrolledMs = -Infinity;
const LOOK_MS = 20;
// Time for which a list still scrolls after the last event of the wheel, in milliseconds.
const SCROLLING_MS = 500;
before.addEventListener('pointerdown', () => { isPressed = true; });
for (const name of ['wheel', 'touchmove']) before.addEventListener(name, () => { scrolledMs = performance.now(); }, { passive: true });
for (const name of ['pointerup', 'pointercancel']) window.addEventListener(name, () => { isPressed = false; }, true);

// Resolved when the parts are in Gradio's page.
export const placed = new Promise((resolve) => { tellPlaced = resolve; });

// Show the parts. The page has the theme of its address, or of the system, as Gradio will set it.
export function showParts() {
  const theme = new URLSearchParams(location.search).get('__theme');
  if (theme === 'dark' || (theme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches)) document.body.classList.add('dark');
  document.body.prepend(before);
}

class Place extends HTMLElement {
  connectedCallback() {
    places.set(this.dataset.part, this);
    // Gradio draws its parts one after the other: with some of them here and the others there, they would cover each other.
    if (places.size === holders.size) moveAll();
  }
}

// While a button of the pointer is down, nothing moves: its release would not be a click. A list that moves while it scrolls may end at its top.
async function moveAll() {
  while (isPressed || performance.now() - scrolledMs < SCROLLING_MS) await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
  for (const [part, place] of places) move(holders.get(part), place);
  before.remove();
  tellPlaced();
}

function move(from, to) {
  if (from === to) return;
  holders.set(to.dataset.part, to);
  for (const child of [...from.childNodes]) {
    // A player that plays and a list that is scrolled stay so. Some browsers have no such function yet.
    if (to.moveBefore && from.isConnected) to.moveBefore(child, null);
    else to.append(child);
  }
}

customElements.define('longview-place', Place);

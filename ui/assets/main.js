// What every page has: the queue, dropping of files anywhere, and the state of the connection. Each page adds its own part.
import './gradio_events.js';
import './queue.js';
import './library.js';
import './no_video.js';
import './copy.js';
import './uploading.js';
import { element, shadow } from './dom.js';
import { listen, start } from './events.js';
import { dropFiles } from './adding.js';
import { keepTheme } from './page_address.js';
import { text } from './strings.js';
import './search.js';

// Addresses of videos from before each page had its own.
if (location.pathname === '/' && new URLSearchParams(location.search).has('video')) location.replace(`/watch${location.search}`);

let banner = null;
listen('connection', (isThere) => {
  banner?.remove();
  banner = null;
  if (isThere) return;
  banner = element('longview-banner');
  shadow(banner).append(element('div', { class: 'banner', role: 'alert', text: text('server.gone') }));
  document.body.append(banner);
});

let depth = 0;
function isFileDrag(event) {
  return [...(event.dataTransfer?.types ?? [])].includes('Files');
}
window.addEventListener('dragenter', (event) => {
  if (!isFileDrag(event)) return;
  depth += 1;
  document.documentElement.classList.add('longview-dropping');
});
window.addEventListener('dragleave', (event) => {
  if (!isFileDrag(event)) return;
  depth = Math.max(0, depth - 1);
  if (!depth) document.documentElement.classList.remove('longview-dropping');
});
window.addEventListener('dragover', (event) => { if (isFileDrag(event)) event.preventDefault(); });
window.addEventListener('drop', (event) => {
  if (!isFileDrag(event)) return;
  event.preventDefault();
  depth = 0;
  document.documentElement.classList.remove('longview-dropping');
  dropFiles(event.dataTransfer);
}, true);

// A path that is pasted outside of a field is offered to be added.
document.addEventListener('paste', (event) => {
  const pasted = event.clipboardData?.getData('text/plain').trim() ?? '';
  const isField = event.composedPath().some((node) => node.matches?.('input, textarea, [contenteditable]'));
  if (isField || !/^(\/|~\/|[A-Za-z]:[\\/])/.test(pasted) || pasted.includes('\n')) return;
  const library = document.querySelector('longview-library');
  if (!library) return;
  event.preventDefault();
  library.offerPath(pasted);
});

keepTheme();
start();

// Files that were chosen and are not sent yet: their list, and what the browser can read of each.
import { costLine } from './cost.js';
import { element } from './dom.js';
import { clock, fileSize } from './format.js';
import { text } from './strings.js';

const READ_MS = 8000;
const READERS = 4;
// Number of files about which one estimate is asked; the others are taken to be like them.
export const MAX_ESTIMATED = 1000;

// Make the list of chosen files, with what they cost and the button that adds them.
//   options: returns the options of the run. added: gets the files and the options when they are to be sent.
//   changed: is called with the number of files.
export function chosenFiles({ options, added, changed }) {
  let entries = [];
  const list = element('ul', { class: 'files' });
  const cost = costLine(() => (entries.length && entries.every((entry) => entry.facts) ? subject() : null));
  const add = element('button', { class: 'primary', click: () => send() });
  const node = element('div', { class: 'chosen', hidden: true }, list, cost.node,
    element('p', { class: 'buttons' }, add, element('button', { text: text('library.chosen.clear'), click: () => set([]) })));

  // What the server is asked about. Of files that are still being read, it only checks the options.
  function subject() {
    const files = entries.slice(0, MAX_ESTIMATED).map((entry) => entry.facts ?? unknownFacts(entry.file));
    return { files, more_files: entries.length - files.length, options: options() };
  }

  function set(next) {
    entries = next;
    node.hidden = !entries.length;
    add.textContent = entries.length === 1 ? text('library.path.add') : text('library.chosen.add', { count: entries.length.toLocaleString() });
    list.replaceChildren(...entries.map((entry) => entry.item));
    changed(entries.length);
  }

  async function read(fresh) {
    const waiting = [...fresh];
    await Promise.all(Array.from({ length: READERS }, async () => {
      for (let entry; (entry = waiting.shift()); ) {
        entry.facts = await factsOf(entry.file);
        entry.length.textContent = entry.facts.duration_s === null ? fileSize(entry.file.size) : clock(entry.facts.duration_s);
      }
    }));
    cost.later();
  }

  async function send() {
    add.disabled = true;
    // The server says what is wrong with the options before anything is sent.
    const isPossible = await cost.check(subject());
    add.disabled = false;
    if (!isPossible) return;
    const files = entries.map((entry) => entry.file);
    set([]);
    added(files, options());
  }

  return {
    node,
    refresh: () => cost.later(),
    choose: (files) => {
      const fresh = files.map((file) => {
        const length = element('span', { class: 'size', text: fileSize(file.size) });
        return { file, length, facts: null, item: element('li', {}, element('span', { class: 'file', text: file.name }), length) };
      });
      set([...entries, ...fresh]);
      read(fresh);
    },
  };
}

function unknownFacts(file) {
  return { name: file.name.slice(0, 255), size_bytes: file.size, duration_s: null, width: 0, height: 0 };
}

// Return what the browser can read of a file; without a length if it does not know the format.
async function factsOf(file) {
  const facts = unknownFacts(file);
  const address = URL.createObjectURL(file);
  const video = document.createElement('video');
  video.preload = 'metadata';
  video.muted = true;
  try {
    await new Promise((resolve, reject) => {
      video.onloadedmetadata = resolve;
      video.onerror = reject;
      setTimeout(reject, READ_MS);
      video.src = address;
    });
    // A recording whose length was never written has an infinite one.
    if (Number.isFinite(video.duration) && video.duration > 0) Object.assign(facts, { duration_s: video.duration, width: video.videoWidth, height: video.videoHeight });
  } catch {
    // Its cost is known after the upload.
  } finally {
    video.removeAttribute('src');
    video.load();
    URL.revokeObjectURL(address);
  }
  return facts;
}

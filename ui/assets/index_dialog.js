// The dialog that asks how videos of the library are indexed again.
import { MAX_ESTIMATED } from './chosen_files.js';
import { costLine } from './cost.js';
import { element, toast } from './dom.js';
import { optionRows } from './run_options.js';
import { text } from './strings.js';

// Size of pictures that nobody has measured, in pixels.
const TYPICAL = { width: 1280, height: 720 };

// Ask for the options of a run over videos; return them, or null if nothing is to be done. `root`: where the dialog is shown.
export function askRunOptions(root, videos) {
  return new Promise((resolve) => {
    let options = null;
    const rows = optionRows(() => cost.later());
    const cost = costLine(() => ({ ...subject(videos), options: rows.values() }), { isAtMost: videos.length > 1 });
    const start = element('button', { class: 'primary', text: text('library.index.start'), click: async () => {
      start.disabled = true;
      const isPossible = await cost.check();
      start.disabled = false;
      if (!isPossible) return;
      options = rows.values();
      dialog.close();
    } });
    const title = videos.length === 1 ? text('library.index.one', { title: videos[0].title }) : text('library.index.many', { count: videos.length.toLocaleString() });
    const dialog = element('dialog', { class: 'dialog', 'aria-labelledby': 'index-title', close: () => { dialog.remove(); resolve(options); } },
      element('h2', { id: 'index-title', text: title }), rows.node, cost.node, element('p', { class: 'note', text: text('library.index.note') }),
      element('p', { class: 'buttons' }, start, element('button', { text: text('library.index.cancel'), click: () => dialog.close() })));
    root.append(dialog);
    dialog.showModal();
    rows.load().catch((error) => toast(error.message));
    cost.check();
  });
}

// What the server is asked about: the plan of one video, or a rough estimate of several.
function subject(videos) {
  if (videos.length === 1) return { path: videos[0].path };
  const files = videos.slice(0, MAX_ESTIMATED).map((video) => ({ name: video.title, size_bytes: 0, duration_s: video.duration_s, ...(video.has_pictures ? TYPICAL : {}) }));
  return { files, more_files: videos.length - files.length };
}

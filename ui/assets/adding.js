// Adding of videos: by a choice of files or of a folder, by dropping them anywhere on the page, or by a path of the machine.
import { post } from './api.js';
import { element, toast } from './dom.js';
import { text } from './strings.js';
import { Uploader } from './uploads.js';

// The server writes the suffixes of files that it takes into the page.
const suffixes = document.querySelector('meta[name=longview-suffixes]')?.content.split(' ') ?? [];
const SENTENCES = ['lost', 'unreadable', 'gone', 'refused'];
export const uploader = new Uploader({ suffixes, strings: Object.fromEntries(SENTENCES.map((name) => [name, text(`upload.${name}`)])) });

// Send files, or what was dropped; the server adds them to its queue.
export async function addFiles(files, options = {}) {
  const { skipped } = await uploader.add(files, { options });
  if (skipped) toast(text('upload.skipped', { count: skipped }));
}

// Add a file or a folder of the machine to the queue.
async function addPath(path, options = {}) {
  const { jobs, refused } = await post('/v1/jobs', { path, ...options });
  if (jobs.length) toast(jobs.length === 1 ? text('library.added', { title: jobs[0].title }) : text('library.added.many', { count: jobs.length }));
  if (refused.length) toast(refused.slice(0, 3).join(' '));
}

// Make the controls that add videos. `isLarge`: in the middle of an empty library.
export function pickers({ isLarge = false, close = null } = {}) {
  const files = element('input', { type: 'file', multiple: true, accept: 'video/*,audio/*,.mkv', hidden: true, change: () => choose(files) });
  const folder = element('input', { type: 'file', webkitdirectory: true, hidden: true, change: () => choose(folder) });
  const path = element('input', { type: 'text', class: 'path', placeholder: text('library.path'), 'aria-label': text('library.path') });
  const long = element('input', { type: 'checkbox' });
  const choose = (input) => {
    addFiles([...input.files], long.checked ? { accepts_long: true } : {});
    input.value = '';
    close?.();
  };
  const form = element('form', { class: 'by-path', submit: async (event) => {
    event.preventDefault();
    if (!path.value.trim()) return;
    try {
      await addPath(path.value.trim(), { accepts_long: long.checked });
      path.value = '';
      close?.();
    } catch (error) {
      toast(error.message);
    }
  } }, path, element('button', { text: text('library.path.add') }));
  return element('div', { class: isLarge ? 'picker large' : 'picker' },
    isLarge ? element('h2', { text: text('library.empty.title') }) : null,
    element('p', { text: text(isLarge ? 'library.empty.text' : 'library.add.drop') }),
    element('p', { class: 'buttons' },
      element('button', { class: 'primary', text: text('library.choose'), click: () => files.click() }),
      element('button', { text: text('library.folder'), click: () => folder.click() })),
    form, files, folder,
    element('label', {}, long, ' ', text('library.long')));
}

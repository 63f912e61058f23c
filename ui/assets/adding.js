// Adding of videos: by a choice of files or of a folder, by dropping them anywhere on the page, or by a path of the machine.
import { post } from './api.js';
import { chosenFiles } from './chosen_files.js';
import { costLine } from './cost.js';
import { element, toast } from './dom.js';
import { pageAddress } from './page_address.js';
import { optionSection } from './run_options.js';
import { text } from './strings.js';
import { filesOf, Uploader } from './uploads.js';

// The server writes the suffixes of files that it takes into the page.
const suffixes = document.querySelector('meta[name=longview-suffixes]')?.content.split(' ') ?? [];
const SENTENCES = ['lost', 'unreadable', 'gone', 'refused', 'differs'];
export const uploader = new Uploader({ suffixes, strings: Object.fromEntries(SENTENCES.map((name) => [name, text(`upload.${name}`)])) });
const panels = new Set();

// Send files, or what was dropped; the server adds them to its queue.
async function addFiles(files, options) {
  const { skipped } = await uploader.add(files, { options });
  saySkipped(skipped);
}

function saySkipped(names) {
  if (names.length) toast(text(names.length === 1 ? 'upload.skipped.one' : 'upload.skipped', { name: names[0], count: names.length }));
}

// Take what was dropped on the page: into the panel with the options if it is open, otherwise at once.
export async function dropFiles(transfer) {
  const panel = [...panels].find((one) => one.isOpen());
  if (panel) panel.choose(await filesOf(transfer));
  else await addFiles(transfer);
}

// Say that a video was in the library already, with a link to it.
function sayKnown({ video_id: video, title }) {
  toast(text('library.known', { title }), { label: text('library.known.open'), href: pageAddress('/watch', { video }) });
}
uploader.addEventListener('change', ({ detail: { state, alreadyThere, job } }) => {
  if (state === 'done' && alreadyThere && job.status === 'done' && job.video_id) sayKnown(job);
});

// Add a file or a folder of the machine to the queue.
async function addPath(path, options) {
  const { jobs, refused, known } = await post('/v1/jobs', { path, options });
  if (known.length) sayKnown(known[0]);
  else if (jobs.length) toast(jobs.length === 1 ? text('library.added', { title: jobs[0].title }) : text('library.added.many', { count: jobs.length }));
  if (refused.length) toast(refused.slice(0, 3).join(' '));
}

// Make the controls that add videos. `isLarge`: in the middle of an empty library.
export function pickers({ isLarge = false, close = null } = {}) {
  const files = element('input', { type: 'file', multiple: true, accept: 'video/*,audio/*,.mkv', hidden: true, change: () => choose(files) });
  const folder = element('input', { type: 'file', webkitdirectory: true, hidden: true, change: () => choose(folder) });
  const path = element('input', { type: 'text', class: 'path', placeholder: text('library.path'), 'aria-label': text('library.path'), input: () => cost.later(), focus: () => cost.later() });
  const options = optionSection(() => { cost.later(); chosen.refresh(); }, (error) => toast(error.message));
  const cost = costLine(() => (path.value.trim() && !form.hidden ? { path: path.value.trim(), options: options.values() } : null), { isTyped: true });
  const chosen = chosenFiles({
    options: options.values,
    added: (list, values) => { addFiles(list, values); close?.(); },
    changed: (count) => { form.hidden = count > 0; cost.later(); },
  });
  const choose = (input) => {
    take([...input.files]);
    input.value = '';
  };
  const take = (list) => {
    const isMedia = (file) => suffixes.some((suffix) => file.name.toLowerCase().endsWith(suffix));
    const media = list.filter(isMedia);
    saySkipped(list.filter((file) => !isMedia(file)).map((file) => file.name));
    if (media.length) chosen.choose(media);
  };
  const form = element('form', { class: 'by-path', submit: async (event) => {
    event.preventDefault();
    if (!path.value.trim()) return;
    try {
      await addPath(path.value.trim(), options.values());
      path.value = '';
      cost.later();
      close?.();
    } catch (error) {
      toast(error.message);
    }
  } }, path, element('button', { text: text('library.path.add') }));
  const panel = element('div', { class: isLarge ? 'picker large' : 'picker' },
    isLarge ? element('h2', { text: text('library.empty.title') }) : null,
    element('p', { text: text(isLarge ? 'library.empty.text' : 'library.add.drop') }),
    element('p', { class: 'buttons' },
      element('button', { class: 'primary', text: text('library.choose'), click: () => files.click() }),
      element('button', { text: text('library.folder'), click: () => folder.click() })),
    form, files, folder, cost.node, chosen.node, options.node);
  // The large panel is always there: what is dropped on it starts at once, unless somebody is choosing.
  panels.add({ choose: take, isOpen: () => panel.checkVisibility() && (!isLarge || options.node.open || !chosen.node.hidden) });
  return panel;
}

// The files of the queue of which nothing is in the library yet, as cards above those of the videos.
import { element } from './dom.js';
import { byFile, JobRows } from './job_rows.js';
import { jobList } from './jobs.js';
import { text } from './strings.js';

// Number of cards above the whole library, and above what a search has found.
const MAX_CARDS = 8;
const MAX_FOUND = 60;
const STATES = ['running', 'waiting', 'paused', 'failed'];

export class WaitingFiles {
  #rows = new JobRows('waiting-files');

  constructor() {
    this.more = element('p', { class: 'more-files', hidden: true });
    this.element = element('section', { 'aria-label': text('library.files'), hidden: true }, this.#rows.element, this.more);
  }

  // Show the files that match the filters of the library; return their number.
  draw({ query, state, source }) {
    const isOther = source || (state && !STATES.includes(state));
    const files = isOther ? [] : [...byFile(jobList.open.filter((job) => !job.in_library)).values()];
    const words = folded(query).split(/\s+/);
    const found = files.filter(([job]) => (!state || job.status === state) && words.every((word) => folded(job.title).includes(word)));
    const shown = found.slice(0, query || state ? MAX_FOUND : MAX_CARDS);
    this.#rows.draw(shown.flat());
    this.element.hidden = !found.length;
    this.more.hidden = shown.length === found.length;
    this.more.textContent = text('library.files.more', { count: (found.length - shown.length).toLocaleString() });
    return found.length;
  }
}

// Return a text without case and accents, as the server compares titles.
function folded(value) {
  return value.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
}

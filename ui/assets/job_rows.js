// Rows of jobs: their titles, their states, and the buttons that change them.
import { element, toast } from './dom.js';
import { percent, plain } from './format.js';
import { jobList } from './jobs.js';
import { hasText, text } from './strings.js';

const ACTIONS = {
  waiting: ['first', 'pause', 'cancel'],
  running: ['pause', 'cancel'],
  paused: ['resume', 'cancel'],
  failed: ['retry', 'cancel'],
};

export class JobRows {
  #rows = new Map();

  constructor(name) {
    this.element = element('ul', { class: name });
    this.element.addEventListener('click', (event) => this.#act(event.target.closest('button[data-action]')));
  }

  // Show jobs, those of one video together. Rows and buttons stay while their texts change, so that a press and its release are one
  // click and the focus is kept.
  draw(jobs) {
    const focused = this.element.getRootNode().activeElement;
    const focusedRow = focused?.closest('li');
    const shown = new Set(jobs.map((job) => job.job_id));
    for (const [id, row] of this.#rows)
      if (!shown.has(id)) {
        row.item.remove();
        this.#rows.delete(id);
      }
    let next = this.element.firstChild;
    for (const group of byFile(jobs).values())
      for (const job of group) {
        if (!this.#rows.has(job.job_id)) this.#rows.set(job.job_id, makeRow(job));
        const row = this.#rows.get(job.job_id);
        updateRow(row, job);
        row.item.classList.toggle('more', job !== group[0]);
        if (row.item === next) next = next.nextSibling;
        else this.element.insertBefore(row.item, next);
      }
    if (focusedRow?.isConnected && !focused.isConnected) focusedRow.querySelector('button')?.focus();
  }

  async #act(button) {
    // A disabled button would lose the keyboard's focus.
    if (!button || button.ariaBusy) return;
    button.ariaBusy = 'true';
    try {
      await jobList.change(button.dataset.job, button.dataset.action);
    } catch (error) {
      toast(error.message);
    } finally {
      button.ariaBusy = null;
    }
  }
}

// Return the jobs of each file, in the order of their first ones.
export function byFile(jobs) {
  const files = new Map();
  for (const job of jobs) {
    const file = job.video_id ?? job.path;
    if (!files.has(file)) files.set(file, []);
    files.get(file).push(job);
  }
  return files;
}

function makeRow(job) {
  const row = { title: element('b'), state: element('span', { class: 'state' }), actions: element('span', { class: 'actions' }) };
  row.item = element('li', { 'data-job': job.job_id }, row.title, row.state, row.actions);
  return row;
}

function updateRow(row, job) {
  const link = row.title.querySelector('a');
  if (job.in_library && !link) row.title.replaceChildren(element('a', { href: `/watch?video=${encodeURIComponent(job.video_id)}`, text: job.title }));
  else if (!job.in_library) row.title.textContent = job.title;
  row.state.className = `state ${job.status}`;
  row.state.textContent = stateText(job);
  const actions = ACTIONS[job.status] ?? [];
  const buttons = new Map([...row.actions.children].map((button) => [button.dataset.action, button]));
  for (const [action, button] of buttons) if (!actions.includes(action)) button.remove();
  actions.forEach((action, index) => {
    const button = buttons.get(action) ?? element('button', { 'data-action': action, 'data-job': job.job_id });
    button.textContent = text(action === 'cancel' && job.status === 'failed' ? 'queue.dismiss' : `queue.${action}`);
    if (row.actions.children[index] !== button) row.actions.insertBefore(button, row.actions.children[index] ?? null);
  });
}

// Return the state of a job, and the sources that it is about if these were chosen: a video may have several jobs.
function stateText(job) {
  const share = job.status === 'running' ? percent(job.fraction) : '';
  const sources = (job.options.sources ?? []).map((source) => (hasText(`source.${source}`) ? text(`source.${source}`) : source)).join(', ');
  return [sources, [text(`queue.status.${job.status}`), share].join(' ').trim(), plain(job.detail)].filter(Boolean).join(' · ');
}

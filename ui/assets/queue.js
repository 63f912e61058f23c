// The queue of files to index, as a drawer at the bottom of every page.
import { get, post } from './api.js';
import { element, shadow, toast } from './dom.js';
import { listen } from './events.js';
import { duration, percent, plain } from './format.js';
import { text } from './strings.js';

const ACTIONS = {
  waiting: ['first', 'pause', 'cancel'],
  running: ['pause', 'cancel'],
  paused: ['resume', 'cancel'],
  failed: ['retry', 'cancel'],
};
const RANKS = { running: 0, failed: 1, paused: 1, waiting: 2 };
const ENDED = new Set(['done', 'cancelled']);
const MAX_ROWS = 100;
const MAX_ENDED = 20;

class Queue extends HTMLElement {
  #jobs = new Map();
  #rows = new Map();
  #preparations = [];
  #endedKey = '';
  #lastEnded = null;

  async connectedCallback() {
    if (this.shadowRoot) return;
    const root = shadow(this);
    this.line = element('span', { class: 'line' });
    // Screen readers are told what begins and what ends, and not each percentage.
    this.announcement = element('span', { class: 'announcement', role: 'status' });
    this.counts = element('span', { class: 'counts' });
    this.list = element('ul', { class: 'rows' });
    this.bar = element('div', { class: 'bar', hidden: true }, element('span'));
    this.ended = element('details', { class: 'ended', hidden: true }, element('summary'), element('div', { role: 'list' }));
    this.drawer = element('details', { class: 'queue', hidden: true }, element('summary', {}, this.line, this.counts), this.bar, this.list, this.ended);
    root.append(this.announcement, this.drawer);
    this.list.addEventListener('click', (event) => this.#act(event.target.closest('button[data-action]')));
    listen('jobs', (change) => this.#apply(change));
    listen('reset', () => this.#load());
    await this.#load();
  }

  async #load() {
    const document = await get('/v1/jobs').catch(() => null);
    if (!document) return;
    this.#jobs = new Map(document.jobs.map((job) => [job.job_id, job]));
    this.#preparations = document.preparations;
    this.#draw();
  }

  #apply({ jobs, gone, preparations }) {
    if (preparations) this.#preparations = preparations;
    for (const job of jobs) {
      const before = this.#jobs.get(job.job_id);
      const wasActive = !before || ['running', 'waiting'].includes(before.status);
      if (['done', 'failed'].includes(job.status) && wasActive) this.#lastEnded = job;
      // A failure that was dismissed is not told any more.
      if (job.status === 'cancelled' && this.#lastEnded?.job_id === job.job_id) this.#lastEnded = null;
      this.#jobs.set(job.job_id, job);
    }
    for (const id of gone ?? []) this.#jobs.delete(id);
    this.#draw();
  }

  #draw() {
    const jobs = [...this.#jobs.values()].filter((job) => !ENDED.has(job.status));
    jobs.sort((a, b) => RANKS[a.status] - RANKS[b.status] || b.priority - a.priority || a.position - b.position || a.job_id - b.job_id);
    const running = jobs.find((job) => job.status === 'running') ?? this.#preparations.find((item) => item.reason === null);
    this.line.textContent = running ? progressText(running) : this.#lastEnded ? doneText(this.#lastEnded) : text('queue.idle');
    const said = running ? `${running.title}: ${text('queue.status.running')}` : this.#lastEnded ? doneText(this.#lastEnded) : '';
    if (this.announcement.textContent !== said) this.announcement.textContent = said;
    this.bar.hidden = !running;
    if (running) this.bar.firstChild.style.width = percent(running.fraction).replace(' ', '');
    const counts = ['waiting', 'paused', 'failed'].map((status) => [status, jobs.filter((job) => job.status === status).length]);
    this.counts.textContent = counts.filter(([, count]) => count).map(([status, count]) => text(`queue.${status}`, { count })).join(' · ');
    this.drawer.hidden = !this.#jobs.size && !this.#preparations.length;
    this.#drawRows(jobs.slice(0, MAX_ROWS));
    this.#drawEnded();
    this.dispatchEvent(new CustomEvent('drawn', { bubbles: true, composed: true }));
  }

  // What has ended lately, and why.
  #drawEnded() {
    const jobs = [...this.#jobs.values()].filter((job) => ENDED.has(job.status));
    jobs.sort((a, b) => b.changed_at.localeCompare(a.changed_at) || b.job_id - a.job_id);
    const unmade = this.#preparations.filter((item) => item.reason !== null);
    const key = [...jobs.map((job) => `${job.job_id} ${job.status}`), ...unmade.map((item) => item.title)].join();
    if (key === this.#endedKey) return;
    this.#endedKey = key;
    this.ended.hidden = !jobs.length && !unmade.length;
    this.ended.firstChild.textContent = text('queue.ended', { count: jobs.length + unmade.length });
    const unmadeRows = unmade.map((item) => element('div', { role: 'listitem' }, element('b', { text: item.title }), ` ${text('queue.status.failed')} · ${plain(item.reason)}`));
    this.ended.lastChild.replaceChildren(...unmadeRows, ...jobs.slice(0, MAX_ENDED).map((job) => {
      const title = job.video_id && job.status === 'done' ? element('a', { href: `/watch?video=${encodeURIComponent(job.video_id)}`, text: job.title }) : job.title;
      return element('div', { role: 'listitem' }, element('b', {}, title), ' ', [text(`queue.status.${job.status}`), plain(job.reason)].filter(Boolean).join(' · '));
    }));
  }

  // Rows and buttons stay while their texts change, so that a press and its release are one click and the focus is kept.
  #drawRows(jobs) {
    const focused = this.shadowRoot.activeElement;
    const focusedRow = focused?.closest('li');
    const shown = new Set(jobs.map((job) => job.job_id));
    for (const [id, row] of this.#rows)
      if (!shown.has(id)) {
        row.item.remove();
        this.#rows.delete(id);
      }
    let next = this.list.firstChild;
    for (const job of jobs) {
      if (!this.#rows.has(job.job_id)) this.#rows.set(job.job_id, makeRow(job));
      const row = this.#rows.get(job.job_id);
      updateRow(row, job);
      if (row.item === next) next = next.nextSibling;
      else this.list.insertBefore(row.item, next);
    }
    if (focusedRow?.isConnected && !focused.isConnected) focusedRow.querySelector('button')?.focus();
  }

  async #act(button) {
    // A disabled button would lose the keyboard's focus.
    if (!button || button.ariaBusy) return;
    button.ariaBusy = 'true';
    try {
      const job = await post(`/v1/jobs/${button.dataset.job}/${button.dataset.action}`);
      if (job) this.#apply({ jobs: [job], gone: [] });
    } catch (error) {
      toast(error.message);
    } finally {
      button.ariaBusy = null;
    }
  }
}

function progressText(job) {
  const values = { title: job.title, stage: job.stage || text('queue.status.running'), percent: percent(job.fraction) };
  return job.seconds_left === null ? text('queue.running', values) : text('queue.running.left', { ...values, left: duration(job.seconds_left) });
}

function doneText(job) {
  const key = job.status === 'failed' ? 'queue.ended.failed' : job.reason ? 'queue.done.reason' : 'queue.done';
  return text(key, { title: job.title, reason: plain(job.reason) });
}

function makeRow(job) {
  const row = { title: element('b'), state: element('span', { class: 'state' }), actions: element('span', { class: 'actions' }) };
  row.item = element('li', { 'data-job': job.job_id }, row.title, row.state, row.actions);
  return row;
}

function updateRow(row, job) {
  const link = row.title.querySelector('a');
  const isThere = job.video_id && (job.partial_results || job.status === 'done');
  if (isThere && !link) row.title.replaceChildren(element('a', { href: `/watch?video=${encodeURIComponent(job.video_id)}`, text: job.title }));
  else if (!isThere) row.title.textContent = job.title;
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

function stateText(job) {
  const share = job.status === 'running' ? percent(job.fraction) : '';
  return [[text(`queue.status.${job.status}`), share].join(' ').trim(), plain(job.detail)].filter(Boolean).join(' · ');
}

customElements.define('longview-queue', Queue);

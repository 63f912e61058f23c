// The queue of files to index, as a drawer at the bottom of every page.
import { element, shadow } from './dom.js';
import { duration, percent, plain } from './format.js';
import { byFile, JobRows } from './job_rows.js';
import { jobList } from './jobs.js';
import { text } from './strings.js';

const MAX_ROWS = 100;
const MAX_ENDED = 20;

class Queue extends HTMLElement {
  #rows = new JobRows('rows');
  #endedKey = '';
  #lastEnded = null;

  async connectedCallback() {
    if (this.shadowRoot) return;
    const root = shadow(this);
    this.line = element('span', { class: 'line' });
    // Screen readers are told what begins and what ends, and not each percentage.
    this.announcement = element('span', { class: 'announcement', role: 'status' });
    this.counts = element('span', { class: 'counts' });
    this.bar = element('div', { class: 'bar', hidden: true }, element('span'));
    this.ended = element('details', { class: 'ended', hidden: true }, element('summary'), element('div', { role: 'list' }));
    this.drawer = element('details', { class: 'queue', hidden: true }, element('summary', {}, this.line, this.counts), this.bar, this.#rows.element, this.ended);
    root.append(this.announcement, this.drawer);
    jobList.addEventListener('change', ({ detail }) => {
      this.#note(detail);
      this.#draw();
    });
    await jobList.read();
  }

  // Note what has ended last.
  #note(changes) {
    for (const { job, before } of changes) {
      const wasActive = !before || ['running', 'waiting'].includes(before.status);
      if (['done', 'failed'].includes(job.status) && wasActive) this.#lastEnded = job;
      // A failure that was dismissed is not told any more.
      if (job.status === 'cancelled' && this.#lastEnded?.job_id === job.job_id) this.#lastEnded = null;
    }
  }

  #draw() {
    const jobs = jobList.open;
    const running = jobs.find((job) => job.status === 'running') ?? jobList.preparations.find((item) => item.reason === null);
    this.line.textContent = running ? progressText(running) : this.#lastEnded ? doneText(this.#lastEnded) : text('queue.idle');
    const said = running ? `${running.title}: ${text('queue.status.running')}` : this.#lastEnded ? doneText(this.#lastEnded) : '';
    if (this.announcement.textContent !== said) this.announcement.textContent = said;
    this.bar.hidden = !running;
    if (running) this.bar.firstChild.style.width = percent(running.fraction).replace(' ', '');
    const counts = ['waiting', 'paused', 'failed'].map((status) => [status, jobs.filter((job) => job.status === status).length]);
    this.counts.textContent = counts.filter(([, count]) => count).map(([status, count]) => text(`queue.${status}`, { count })).join(' · ');
    this.toggleAttribute('data-busy', jobs.length > 0 || jobList.preparations.length > 0);
    this.drawer.hidden = !jobList.size && !jobList.preparations.length;
    this.#rows.draw([...byFile(jobs).values()].slice(0, MAX_ROWS).flat());
    this.#drawEnded();
    this.dispatchEvent(new CustomEvent('drawn', { bubbles: true, composed: true }));
  }

  // What has ended lately, and why.
  #drawEnded() {
    const jobs = jobList.ended;
    const unmade = jobList.preparations.filter((item) => item.reason !== null);
    const key = [...jobs.map((job) => `${job.job_id} ${job.status}`), ...unmade.map((item) => item.title)].join();
    if (key === this.#endedKey) return;
    this.#endedKey = key;
    this.ended.hidden = !jobs.length && !unmade.length;
    this.ended.firstChild.textContent = text('queue.ended', { count: jobs.length + unmade.length });
    const unmadeRows = unmade.map((item) => element('div', { role: 'listitem' }, element('b', { text: item.title }), ` ${text('queue.status.failed')} · ${plain(item.reason)}`));
    this.ended.lastChild.replaceChildren(...unmadeRows, ...jobs.slice(0, MAX_ENDED).map((job) => {
      const title = job.in_library ? element('a', { href: `/watch?video=${encodeURIComponent(job.video_id)}`, text: job.title }) : job.title;
      return element('div', { role: 'listitem' }, element('b', {}, title), ' ', [text(`queue.status.${job.status}`), plain(job.reason)].filter(Boolean).join(' · '));
    }));
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

customElements.define('longview-queue', Queue);

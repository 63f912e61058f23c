// The jobs of the queue, which everything on a page shares: read once, and kept up to date by the event stream.
import { get, post } from './api.js';
import { listen } from './events.js';

const RANKS = { running: 0, failed: 1, paused: 1, waiting: 2 };
const ENDED = new Set(['done', 'cancelled']);

// Emits `change` (detail: the jobs that have changed, each with how it was before).
class Jobs extends EventTarget {
  #jobs = new Map();
  // What the server prepares beside the queue.
  preparations = [];

  // Read all jobs.
  async read() {
    const document = await get('/v1/jobs').catch(() => null);
    if (!document) return;
    this.#jobs = new Map(document.jobs.map((job) => [job.job_id, job]));
    this.preparations = document.preparations;
    this.#emit([]);
  }

  apply({ jobs, gone, preparations }) {
    if (preparations) this.preparations = preparations;
    const changes = jobs.map((job) => ({ job, before: this.#jobs.get(job.job_id) }));
    for (const job of jobs) this.#jobs.set(job.job_id, job);
    for (const id of gone ?? []) this.#jobs.delete(id);
    this.#emit(changes);
  }

  get size() {
    return this.#jobs.size;
  }

  // Return the jobs that run, need somebody, or wait, in this order and in that of the queue.
  get open() {
    const jobs = [...this.#jobs.values()].filter((job) => !ENDED.has(job.status));
    return jobs.sort((a, b) => RANKS[a.status] - RANKS[b.status] || b.priority - a.priority || a.position - b.position || a.job_id - b.job_id);
  }

  // Return the jobs that have ended, the last one first.
  get ended() {
    const jobs = [...this.#jobs.values()].filter((job) => ENDED.has(job.status));
    return jobs.sort((a, b) => b.changed_at.localeCompare(a.changed_at) || b.job_id - a.job_id);
  }

  // Change a job: `cancel`, `pause`, `resume`, `retry` or `first`.
  async change(id, action) {
    const job = await post(`/v1/jobs/${id}/${action}`);
    if (job) this.apply({ jobs: [job] });
  }

  #emit(changes) {
    this.dispatchEvent(new CustomEvent('change', { detail: changes }));
  }
}

export const jobList = new Jobs();
listen('jobs', (change) => jobList.apply(change));
listen('reset', () => jobList.read());

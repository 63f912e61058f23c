// What is done with several videos at once, and the bar that offers it for those that are selected.
import { post } from './api.js';
import { element, toast } from './dom.js';
import { text } from './strings.js';

// Number of videos that one request changes.
const MAX_BULK = 1000;
// What can be done with the jobs of videos, and the states of jobs with which it can be done.
const JOB_ACTIONS = { pause: ['waiting', 'running'], resume: ['paused'], cancel: ['waiting', 'running', 'paused'] };

// Do something with several videos; say what of it failed, and return the ids of the others, so that what was done can be undone.
// `more`: what the action needs beside.
export async function bulk(action, ids, more = {}) {
  const done = [];
  const errors = [];
  for (let start = 0; start < ids.length; start += MAX_BULK) {
    let results;
    try {
      ({ results } = await post('/v1/videos/bulk', { action, video_ids: ids.slice(start, start + MAX_BULK), ...more }));
    } catch (error) {
      if (!start) throw error;
      errors.unshift(error.message);
      break;
    }
    for (const result of results) (result.error ? errors : done).push(result.error ?? result.video_id);
  }
  if (errors.length) toast(errors.slice(0, 3).join(' '));
  return done;
}

export class BulkBar {
  #offered = '';

  // `act` is called with the name of an action and the videos for which it was chosen.
  constructor(act) {
    this.element = element('div', { class: 'bulk', hidden: true });
    this.act = act;
  }

  // Offer what can be done with the selected videos. The buttons stay while it is the same, so that the focus is kept.
  update(count, videos) {
    const offered = Object.keys(JOB_ACTIONS).filter((action) => videos.some((video) => JOB_ACTIONS[action].includes(video.job)));
    this.videos = videos;
    this.element.hidden = !count;
    const key = [count, ...offered].join();
    if (key === this.#offered) return;
    this.#offered = key;
    this.element.replaceChildren(
      element('span', { text: text('library.selected', { count }) }),
      this.#button('index', 'library.index'),
      ...offered.map((action) => this.#button(action, `queue.${action}`)),
      this.#button('remove', 'library.remove'),
      this.#button('clear', 'library.clear'),
    );
  }

  #button(action, key) {
    const states = JOB_ACTIONS[action];
    const chosen = () => this.videos.filter((video) => !states || states.includes(video.job));
    return element('button', { 'data-action': action, text: text(key), click: () => this.act(action, chosen()) });
  }
}

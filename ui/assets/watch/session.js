// What the parts of the watch page share: the video, its player and strip, the selected span, and what was found in it.
import { get } from '../api.js';
import { Player } from './player.js';
import { Segments } from './segments.js';
import { Strip } from './strip.js';
import { Video } from './video.js';

// Emits `selection`, `found`, `tab`, `evidence` and `cuts`.
class Session extends EventTarget {
  // `startS`: where the address says that the video begins, in seconds; null: where somebody stopped watching.
  constructor(video, startS) {
    super();
    this.video = video;
    this.startS = startS;
    this.player = new Player(video);
    this.strip = new Strip(video);
    this.selection = null;
    this.found = new Segments();
    this.evidence = new Segments();
    this.cuts = new Segments();
  }

  // Read which parts were cut into files that are still there.
  async readCuts() {
    const { cuts } = await get(`/v1/videos/${this.video.id}/cuts`).catch(() => ({ cuts: [] }));
    this.cuts = new Segments(cuts.filter((cut) => cut.state === 'ready').map((cut) => ({ ...cut, text: cut.name })));
    this.dispatchEvent(new Event('cuts'));
  }

  // Select a span in seconds, or nothing (null). `text`: what was selected of the words, if it was.
  select(span, text = '') {
    this.selection = span && { ...span, text };
    this.strip.setSelection(span);
    this.dispatchEvent(new Event('selection'));
  }

  setFound(rows) {
    this.found = new Segments(rows);
    this.dispatchEvent(new Event('found'));
  }

  setEvidence(spans) {
    this.evidence = new Segments(spans);
    this.dispatchEvent(new Event('evidence'));
  }

  // Show one of the panels by its name, and one of its sources.
  openTab(name, source = '') {
    this.dispatchEvent(new CustomEvent('tab', { detail: { name, source } }));
  }
}

async function makeSession() {
  const parameters = new URLSearchParams(location.search);
  const id = parameters.get('video');
  // The server completes the address, unless the library is empty or cannot be read, which this says.
  if (!id) {
    await get('/v1/videos?limit=1');
    return null;
  }
  const start = Number(parameters.get('t'));
  const video = new Video(id);
  video.readAhead().catch(() => {});
  return new Session(video, parameters.has('t') && Number.isFinite(start) ? Math.max(0, start) : null);
}

let made = null;

// Return the session of the page, a promise; null while the library is empty.
export function session() {
  made ??= makeSession();
  return made;
}

// What the page shows is read while Gradio builds the elements that show it, which get an error of it.
session().catch(() => {});

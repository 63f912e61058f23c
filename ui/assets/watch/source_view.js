// What is said of a source: whether it was looked for, what was found, and what can be done.
import { post } from '../api.js';
import { element, toast } from '../dom.js';
import { withCommands } from '../copy.js';
import { duration, percent, plain } from '../format.js';
import { hasText, text } from '../strings.js';
import { spanText } from './times.js';

// States after which nothing more comes by itself.
const SETTLED = ['none', 'failed', 'not_yet', 'partial'];

// Return the name of a source.
export function sourceName(source) {
  return hasText(`source.${source}`) ? text(`source.${source}`) : source.charAt(0).toUpperCase() + source.slice(1).replaceAll('_', ' ');
}

// Return the nodes that say how it is with a source; none if all of it is there.
export function stateView(session, source) {
  const { video } = session;
  const state = video.state(source);
  const track = video.track(source);
  if (!state) return [];
  const values = { source: sourceName(source), percent: percent(state.fraction), reason: plain(state.reason).replace(/\.$/, '') };
  // Why there is nothing says also that it was looked for.
  const isExplained = state.state === 'none' && Boolean(state.reason);
  const parts = [];
  if (state.state !== 'current') {
    const hasLeft = state.state === 'running' && state.seconds_left !== null && state.seconds_left !== undefined;
    const key = hasLeft ? 'running.left' : isExplained ? 'none.reason' : state.state;
    parts.push(element('p', { text: text(`watch.state.${key}`, { ...values, left: hasLeft ? duration(state.seconds_left) : '' }) }));
  }
  const note = isExplained ? '' : state.reason || (state.state === 'current' ? track?.note : '');
  if (note) parts.push(element('p', {}, withCommands(note)));
  // Captions that could not be made need what this machine lacks.
  if (source === 'captions' && track?.status === 'declined') parts.push(element('p', {}, withCommands(text('watch.captions.model'))));
  if (track?.uncovered.length && track.status !== 'declined' && state.state !== 'running') parts.push(element('p', { text: text('watch.uncovered', { source: values.source, spans: track.uncovered.map(({ start_s: start, end_s: end }) => spanText({ start, end })).join(', ') }) }));
  if (!video.sources.length && video.document.sources.every((each) => SETTLED.includes(each.state))) parts.push(element('p', {}, withCommands(text('watch.nothing'))));
  if (['not_yet', 'failed', 'partial', 'outdated'].includes(state.state) && !video.document.missing)
    parts.push(element('button', { class: 'small', text: text(`watch.state.${state.state}.action`), click: (event) => look(event.target, video, source) }));
  return parts;
}

async function look(button, video, source) {
  if (button.ariaBusy) return;
  button.ariaBusy = 'true';
  try {
    const { results } = await post('/v1/videos/bulk', { action: 'index', video_ids: [video.id], options: { sources: [source] } });
    toast(results[0]?.error ?? text('library.added', { title: video.document.title }));
    video.refresh();
  } catch (error) {
    toast(error.message);
  } finally {
    button.ariaBusy = null;
  }
}

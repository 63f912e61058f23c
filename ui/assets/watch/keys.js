// The keys of the watch page. Fields of text keep all of theirs.
import { element } from '../dom.js';
import { text } from '../strings.js';

const SKIP_S = 5;
const SHORT_SKIP_S = 1;
const VOLUME = 0.05;
const FIELDS = 'input, textarea, select, [contenteditable]';

// Each key with its action and the name of its text in the catalogue.
export function bindKeys(session, { panels, toggleFullScreen, help }) {
  const { player, strip } = session;
  const skip = (seconds) => player.seek(player.time + seconds);
  const next = (direction) => {
    const time = panels()?.nextTime(player.time, direction);
    if (time !== null && time !== undefined) player.seek(time);
  };
  const mark = (side) => {
    const { selection } = session;
    const { time } = player;
    const span = side === 'start' ? { start: time, end: selection?.end ?? session.video.duration } : { start: selection?.start ?? 0, end: time };
    if (span.start < span.end) session.select(span);
    else session.select(side === 'start' ? { start: time, end: session.video.duration } : { start: 0, end: time });
  };
  const actions = {
    ' ': () => player.toggle(),
    k: () => player.pause(),
    j: () => player.shuttle(-1),
    l: () => player.shuttle(1),
    ArrowLeft: (event) => skip(event.shiftKey ? -SHORT_SKIP_S : -SKIP_S),
    ArrowRight: (event) => skip(event.shiftKey ? SHORT_SKIP_S : SKIP_S),
    ',': () => player.step(-1),
    '.': () => player.step(1),
    '[': () => mark('start'),
    ']': () => mark('end'),
    n: () => next(1),
    p: () => next(-1),
    '+': () => strip.zoom(0.5),
    '=': () => strip.zoom(0.5),
    '-': () => strip.zoom(2),
    0: () => strip.showWhole(),
    m: () => { player.media.muted = !player.media.muted; },
    f: toggleFullScreen,
    '/': () => session.dispatchEvent(new Event('find')),
    '?': () => help.showModal(),
    Escape: () => session.select(null),
  };
  window.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.composedPath()[0];
    const isTabKey = target.matches?.('[role=tab]') && ['ArrowLeft', 'ArrowRight'].includes(event.key);
    if (target.matches?.(FIELDS) || isTabKey || document.querySelector('dialog[open]') || help.open) return;
    // A button is pressed with the space bar.
    if (event.key === ' ' && target.matches?.('button, a, summary')) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (['ArrowUp', 'ArrowDown'].includes(key)) {
      if (target.matches?.('.list')) return;
      event.preventDefault();
      player.media.volume = Math.min(1, Math.max(0, player.media.volume + (key === 'ArrowUp' ? VOLUME : -VOLUME)));
      return;
    }
    const action = actions[key];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}

const HELP = [
  ['Space', 'play'], ['J K L', 'shuttle'], ['← →', 'skip'], ['Shift ← →', 'skip.short'], [', .', 'frame'], ['[ ]', 'selection'], ['N P', 'next'],
  ['/', 'find'], ['+ − 0', 'zoom'], ['↑ ↓ M', 'volume'], ['F', 'full'], ['Esc', 'clear'], ['?', 'help'],
];

// Make the dialog that lists the keys.
export function keysDialog() {
  const dialog = element('dialog', { class: 'dialog keys', 'aria-label': text('watch.keys') },
    element('h2', { text: text('watch.keys') }),
    element('dl', {}, HELP.flatMap(([keys, name]) => [element('dt', {}, keys.split(' ').map((key) => element('kbd', { text: key }))), element('dd', { text: text(`watch.keys.${name}`) })])),
    element('p', { text: text('watch.keys.pointer') }),
    element('div', { class: 'buttons' }, element('button', { text: text('watch.keys.close'), click: () => dialog.close() })));
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  return dialog;
}

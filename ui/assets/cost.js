// What adding costs, in words, before it begins.
import { post } from './api.js';
import { element } from './dom.js';
import { clock, duration } from './format.js';
import { text } from './strings.js';

const WAIT_MS = 500;

// Make a line that shows what a request would cost.
//   request: returns the body for the server, or null if there is nothing to be estimated.
//   isAtMost: whether some of it may be done already. isTyped: whether it is a path that is being typed.
export function costLine(request, { isAtMost = false, isTyped = false } = {}) {
  const node = element('p', { class: 'cost', 'aria-live': 'polite', hidden: true });
  let generation = 0;
  let timer = null;
  const show = (...children) => {
    node.replaceChildren(...children);
    node.hidden = !children.length;
  };

  // Return whether what is asked for is possible; say why not.
  async function check(body = request()) {
    const number = ++generation;
    clearTimeout(timer);
    node.classList.remove('failed');
    if (!body) {
      show();
      return true;
    }
    show(text('cost.wait'));
    try {
      const estimate = await post('/v1/estimates', body);
      if (number === generation) show(...costTexts(estimate, isAtMost, Boolean(body.path)).map((sentence, index) => element(index ? 'span' : 'b', { text: sentence })));
      return true;
    } catch (error) {
      if (number === generation) {
        // Nothing is said of a path that is still being typed; the button says that there is no such file.
        show(...(isTyped && error.status === 404 ? [] : [error.message]));
        node.classList.add('failed');
      }
      return false;
    }
  }

  return {
    node,
    check,
    // Estimate as soon as nothing has changed for a moment.
    later: () => {
      generation += 1;
      clearTimeout(timer);
      if (!request()) show();
      timer = setTimeout(() => check(), WAIT_MS);
    },
  };
}

// Return what an estimate says: the time in all first, then the files, the sources, and what is left out. `isHere`: whether the
// files are on the machine of the server.
function costTexts(estimate, isAtMost, isHere) {
  const runs = estimate.sources.filter((source) => source.action === 'run');
  const isKnown = estimate.files > estimate.unknown_files;
  const sentences = [];
  if (isKnown && !runs.length) sentences.push(text('cost.none'));
  else if (isKnown && estimate.estimated_seconds === null) sentences.push(text('cost.unknown'));
  else if (isKnown) sentences.push(text(isAtMost ? 'cost.most' : estimate.is_rough ? 'cost.rough' : 'cost.total', { time: duration(estimate.estimated_seconds) }));
  if (isKnown && estimate.files > 1) sentences.push(text('cost.files', { count: estimate.files.toLocaleString(), length: clock(estimate.duration_s) }));
  // A model that captions no footage looks at it, and declines.
  const look = estimate.captions_footage ? null : runs.find((source) => source.source === 'captions');
  const known = runs.filter((source) => source.estimated_seconds !== null && source !== look);
  if (known.length > 1) sentences.push(known.map((source) => text('cost.source', { source: text(`source.${source.source}`), time: duration(source.estimated_seconds) })).join(' · '));
  if (look) sentences.push(text('cost.footage'));
  const skipped = estimate.sources.find((source) => source.source === 'captions' && source.action === 'skip' && source.at_most_seconds);
  if (skipped) sentences.push(text('cost.long', { time: duration(skipped.at_most_seconds) }));
  if (estimate.unknown_files) {
    const key = isHere ? 'cost.unread' : 'cost.later';
    sentences.push(text(estimate.unknown_files === 1 ? `${key}.one` : key, { count: estimate.unknown_files.toLocaleString() }));
  }
  return sentences;
}

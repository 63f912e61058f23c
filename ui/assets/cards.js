// The card of a video: its poster, its title, the states of its sources, and the position where one stopped watching.
import { element } from './dom.js';
import { clock, duration, percent, plain } from './format.js';
import { pageAddress } from './page_address.js';
import { hasText, text } from './strings.js';

// Time for which a card has to be in view before its picture is loaded: those that are scrolled past need none.
const POSTER_MS = 120;
const MENU = ['rename', 'index', 'remove'];

export function makeCard() {
  const card = {
    image: element('img', { alt: '', decoding: 'async', hidden: true }),
    length: element('span', { class: 'length' }),
    seen: element('span', { class: 'seen', hidden: true }),
    title: element('a', { class: 'title' }),
    states: element('div', { class: 'states' }),
    questions: element('div', { class: 'questions' }),
    box: element('input', { type: 'checkbox' }),
    menuButton: element('button', { class: 'dots', 'data-action': 'menu', 'aria-haspopup': 'true', 'aria-expanded': 'false', text: '⋯' }),
  };
  card.poster = element('a', { class: 'poster', tabindex: '-1', 'aria-hidden': 'true' }, card.image, card.length, card.seen);
  card.image.addEventListener('load', () => { card.image.hidden = false; });
  card.image.addEventListener('error', () => { card.image.hidden = true; });
  card.menu = element('div', { class: 'menu', hidden: true }, MENU.map((action) => element('button', { 'data-action': action, text: text(`library.${action}`) })));
  card.item = element('div', { class: 'card', role: 'listitem' }, card.poster, card.box, card.menuButton, card.menu, card.title, card.states, card.questions);
  return card;
}

// Let a card show a video, unless it shows all of it already.
export function updateCard(card, video, isSelected) {
  const key = stateKey(video);
  if (card.video === video && card.key === key) return;
  const isSame = card.video?.video_id === video.video_id;
  card.video = video;
  card.key = key;
  card.item.dataset.video = video.video_id;
  card.title.textContent = video.title;
  card.title.title = video.title;
  card.length.textContent = clock(video.duration_s);
  showPosition(card);
  if (!isSame) {
    card.menu.hidden = true;
    card.image.hidden = true;
    card.image.removeAttribute('src');
    clearTimeout(card.posterTimer);
    if (video.has_pictures && !video.missing) card.posterTimer = setTimeout(() => loadPoster(card, video), POSTER_MS);
    card.poster.classList.toggle('sound', !video.has_pictures);
    card.menuButton.setAttribute('aria-expanded', 'false');
  }
  card.box.setAttribute('aria-label', text('library.select', { title: video.title }));
  card.menuButton.setAttribute('aria-label', text('library.menu', { title: video.title }));
  card.box.checked = isSelected;
  card.states.replaceChildren(...chips(video));
  card.questions.replaceChildren(...(video.example_questions ?? []).map((question) =>
    element('a', { href: pageAddress('/watch', { video: video.video_id, question }), title: question, text: question })));
}

// Show where one stopped watching the video of a card, and let its links begin there.
export function showPosition(card) {
  const { video } = card;
  const position = video.position_s;
  card.title.href = card.poster.href = `/watch?video=${encodeURIComponent(video.video_id)}${position ? `&t=${position.toFixed(1)}` : ''}`;
  card.seen.hidden = !position;
  if (!position) return;
  card.seen.style.width = `${Math.min(100, (100 * position) / video.duration_s)}%`;
  card.seen.title = text('library.position', { time: clock(position) });
}

function loadPoster(card, video) {
  if (card.video?.video_id !== video.video_id || !card.item.isConnected) return;
  card.image.src = `/v1/videos/${video.video_id}/poster.jpg`;
}

// What the chips of a card depend on.
function stateKey(video) {
  return JSON.stringify([video.title, video.missing, video.sources, video.example_questions]);
}

function chips(video) {
  const made = (video.sources ?? []).filter((source) => source.state !== 'none' || video.sources.length < 4).map((source) =>
    element('span', { class: `chip ${source.state}`, title: plain(source.reason) || false, text: stateText(source) }));
  if (video.missing) made.push(element('span', { class: 'chip failed', text: text('library.missing') }));
  if (video.damage) made.push(element('span', { class: 'chip outdated', title: video.damage.text, text: text('library.damaged') }));
  return made;
}

function stateText(state) {
  const name = hasText(`source.${state.source}`) ? text(`source.${state.source}`) : state.source.replaceAll('_', ' ');
  const hasLeft = state.state === 'running' && state.seconds_left !== null && state.seconds_left !== undefined;
  const values = { source: state.state === 'none' ? name.toLowerCase() : name, percent: percent(state.fraction), left: hasLeft ? duration(state.seconds_left) : '' };
  return text(hasLeft ? 'state.running.left' : `state.${state.state}`, values);
}

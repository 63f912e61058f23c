// The chat, which Gradio draws: it follows answers that run on the server, and its links play parts of the video.
import { listen } from '../events.js';
import { element, setFieldValue, shadow } from '../dom.js';
import { onGradio, opened } from '../gradio_events.js';
import { pageAddress } from '../page_address.js';
import { text } from '../strings.js';
import { setParameter } from './view_address.js';

// The parts of Gradio's page.
const QUESTION = '#longview-question textarea';
const CHANGED = 'longview-conversation-changed';
const LINK = 'a[href*="#t="]';
const LAST_ANSWER = '.message.bot';

// Return the part that a link plays, in seconds: `#t=12.5,14.0`, or from a time on.
function linkedPart(link) {
  const [start, end] = link.getAttribute('href').split('#t=')[1].split(',').map(Number);
  return Number.isFinite(start) ? { start, end: Number.isFinite(end) && end > start ? end : null } : null;
}

// Put a question into the field of the chat, which the person sends. Gradio fills the field when it has loaded, so it is set after that.
export async function askAbout(session, question) {
  session.openTab('chat');
  await opened;
  const field = document.querySelector(QUESTION);
  setFieldValue(field, question);
  field.focus();
}

// The link that asks the question of the field about all videos.
class AskLibrary extends HTMLElement {
  connectedCallback() {
    if (this.shadowRoot) return;
    const link = element('a', { href: pageAddress('/search'), text: text('watch.ask.library') });
    link.addEventListener('click', () => {
      const question = document.querySelector(QUESTION)?.value.trim();
      if (question) sessionStorage.setItem('longview-asks', question);
      link.href = pageAddress('/search', { question });
    });
    shadow(this, 'watch/watch.css').append(link);
  }
}

customElements.define('longview-ask-library', AskLibrary);

export function bindChat(session) {
  document.addEventListener('click', (event) => {
    const link = event.target.closest?.(LINK);
    if (!link || link.closest('a[data-elsewhere]') || link.origin !== location.origin) return;
    event.preventDefault();
    event.stopPropagation();
    const part = linkedPart(link);
    if (!part) return;
    if (part.end === null) session.player.seek(part.start, { plays: true });
    else session.player.playPart(part);
    session.select(part.end === null ? null : part);
  }, true);

  // An answer continues whatever the page does. The page follows it once at a time, and looks again at the end if something changed.
  let isFollowing = false;
  let hasChanged = false;
  const follow = () => {
    isFollowing = true;
    hasChanged = false;
    document.getElementById(CHANGED)?.click();
  };
  const { id } = session.video;
  listen('conversation', ({ video_id: changed }) => {
    if (changed !== id) return;
    if (isFollowing) hasChanged = true;
    else follow();
  });
  // A reply that was followed may have been cut off.
  listen('reset', follow);
  listen('connection', (isThere) => { if (isThere) follow(); });
  onGradio('asking', () => {
    isFollowing = true;
    // What a link has put into the box is asked now: a reload leaves the box empty.
    setParameter('question', '');
    session.openTab('chat');
  });
  onGradio('followed', () => {
    isFollowing = false;
    showEvidence(session);
    if (hasChanged) follow();
  });
  // An answer may be running that was asked for before this page was loaded.
  opened.then(follow);
}

// Mark on the strip what the last answer rests on.
function showEvidence(session) {
  const answer = [...document.querySelectorAll(LAST_ANSWER)].at(-1);
  const parts = [...(answer?.querySelectorAll(LINK) ?? [])].map(linkedPart).filter((part) => part?.end);
  const rows = parts.map(({ start, end }) => ({ start_s: start, end_s: end, text: '' }));
  session.setEvidence(rows.sort((one, other) => one.start_s - other.start_s));
}

// The search page: its address has the query, whether captions are verified, a question, and the id of the answer.
import { opened } from './gradio_events.js';

const SUBMIT = '#longview-library-question .submit-button';
function setParameter(name, value, { replaces = false } = {}) {
  const parameters = new URLSearchParams(location.search);
  if ((parameters.get(name) ?? '') === value) return;
  if (value) parameters.set(name, value);
  else parameters.delete(name);
  history[replaces ? 'replaceState' : 'pushState'](null, '', `${location.pathname}${parameters.size ? `?${parameters}` : ''}`);
}

window.longviewSearched = (query) => { if (query.trim()) setParameter('q', query.trim()); };
window.longviewVerifies = (isRequested) => setParameter('verify', isRequested ? '' : 'false');
window.longviewAsked = (id) => {
  setParameter('answer', id ?? '');
  // The answer has its question.
  setParameter('question', '', { replaces: true });
};
if (location.pathname === '/search') {
  window.addEventListener('popstate', () => location.reload());
  // Who asks the whole library on the page of a video has sent the question there: a link with one asks nothing by itself.
  opened.then(() => {
    const asked = sessionStorage.getItem('longview-asks');
    sessionStorage.removeItem('longview-asks');
    if (asked && asked === new URLSearchParams(location.search).get('question')) document.querySelector(SUBMIT)?.click();
  });
}

// Who clicks on the card of a moment wants to see it. The watch page takes the note once, so that a reload and a shared link do not
// play.
document.addEventListener('click', (event) => {
  const card = event.target.closest('.moments a');
  if (card && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) sessionStorage.setItem('longview-plays', card.search);
}, true);

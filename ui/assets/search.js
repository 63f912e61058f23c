// The search page: its address has the query, whether captions are verified, and the id of the answer.
function setParameter(name, value) {
  const parameters = new URLSearchParams(location.search);
  if ((parameters.get(name) ?? '') === value) return;
  if (value) parameters.set(name, value);
  else parameters.delete(name);
  history.pushState(null, '', `${location.pathname}${parameters.size ? `?${parameters}` : ''}`);
}

window.longviewSearched = (query) => { if (query.trim()) setParameter('q', query.trim()); };
window.longviewVerifies = (isRequested) => setParameter('verify', isRequested ? '' : 'false');
window.longviewAsked = (id) => setParameter('answer', id ?? '');
if (location.pathname === '/search') window.addEventListener('popstate', () => location.reload());

// Who clicks on the card of a moment wants to see it. The watch page takes the note once, so that a reload and a shared link do not
// play.
document.addEventListener('click', (event) => {
  const card = event.target.closest('.moments a');
  if (card && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) sessionStorage.setItem('longview-plays', card.search);
}, true);

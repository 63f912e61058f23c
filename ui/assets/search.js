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

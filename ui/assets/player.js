// Everything that names a time seeks the player on the page, without a way over the server.
function longviewSeek(seconds) {
  const video = document.querySelector('.player video');
  if (!video) return;
  video.currentTime = seconds;
  video.play().catch(() => {});
  video.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
}
document.addEventListener('click', (event) => {
  const target = event.target.closest('[data-seek], a[href*="#t="]');
  if (!target || target.closest('a[data-elsewhere]')) return;
  event.preventDefault();
  event.stopPropagation();
  longviewSeek(parseFloat(target.dataset.seek ?? target.getAttribute('href').split('#t=')[1]));
}, true);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.dataset && event.target.dataset.seek) longviewSeek(parseFloat(event.target.dataset.seek));
});
// Media events do not bubble, but they can be captured.
document.addEventListener('timeupdate', (event) => {
  const now = event.target.currentTime;
  for (const row of document.querySelectorAll('.captions tr[data-seek]')) {
    row.classList.toggle('now', now >= parseFloat(row.dataset.seek) && now < parseFloat(row.dataset.until));
  }
}, true);

// Every element with a time seeks the player on the page, without a request to the server.
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
// The row of the present time. After a jump, the list is scrolled to it.
function longviewMark(now, isJump) {
  let current = null;
  for (const row of document.querySelectorAll('.captions tr[data-seek]')) {
    const isNow = now >= parseFloat(row.dataset.seek) && now < parseFloat(row.dataset.until);
    row.classList.toggle('now', isNow);
    if (isNow) current = current ?? row;
  }
  const list = current?.closest('.captions');
  if (isJump && list) list.scrollTop = current.offsetTop - list.clientHeight / 3;
}
// Media events do not bubble, but they can be captured.
document.addEventListener('timeupdate', (event) => longviewMark(event.target.currentTime, false), true);
document.addEventListener('seeked', (event) => longviewMark(event.target.currentTime, true), true);

// The jobs of the server. A hidden page closes its connection, because browsers allow six per server.
let longviewEvents = null;
let longviewEnded = null;
// Segments that a job has committed are shown at most once a second.
let longviewPartialResults = null;
let longviewRefresh = null;
function longviewFollowJobs() {
  if (document.hidden) {
    longviewEvents?.close();
    longviewEvents = null;
  } else if (!longviewEvents) {
    longviewEvents = new EventSource('/events');
    longviewEvents.onmessage = (message) => longviewShowJobs(JSON.parse(message.data));
  }
}
function longviewShowJobs(state) {
  const line = document.getElementById('longview-jobs');
  const button = document.getElementById('longview-jobs-ended');
  if (!line || !button) {
    // The page is still being built.
    setTimeout(longviewShowJobs, 200, state);
    return;
  }
  line.innerHTML = state.html;
  longviewShowQueue(state);
  if (longviewEnded !== null && state.ended !== longviewEnded) {
    longviewRememberSections();
    button.click();
  }
  longviewEnded = state.ended;
  if (longviewPartialResults !== null && state.partial_results !== longviewPartialResults && !longviewRefresh)
    longviewRefresh = setTimeout(longviewShowSegments, 1000);
  longviewPartialResults = state.partial_results;
}
// The queue of files. A button that has the keyboard's focus keeps it while the table is replaced.
function longviewShowQueue(state) {
  const queue = document.getElementById('longview-queue');
  if (!queue) return;
  queue.hidden = !state.queue;
  queue.querySelector('summary').textContent = state.unfinished === 1 ? 'Queue: 1 file' : `Queue: ${state.unfinished} files`;
  const table = queue.querySelector('div');
  const { job, action } = document.activeElement?.dataset ?? {};
  table.innerHTML = state.queue;
  if (job) table.querySelector(`button[data-job="${job}"][data-action="${action}"]`)?.focus();
}
async function longviewPost(button, path) {
  button.disabled = true;
  const reply = await fetch(path, { method: 'POST' }).catch(() => null);
  button.disabled = false;
  if (!reply?.ok) alert((await reply?.json().catch(() => null))?.detail ?? 'The server does not answer.');
  return reply?.ok;
}
document.addEventListener('click', async (event) => {
  const button = event.target.closest('button[data-job], button[data-undo]');
  if (!button) return;
  const { job, action, undo } = button.dataset;
  if (job) await longviewPost(button, `/jobs/${job}/${action}`);
  // The lists of the page are rendered again.
  else if (await longviewPost(button, `/videos/${undo}/undo-removal`)) document.getElementById('longview-jobs-ended').click();
});
// New segments replace the tracks, and the end of a job the summary, too. What is open stays open, and each list stays where it is.
let longviewSections = new Map();
function longviewShowSegments() {
  longviewRefresh = null;
  longviewRememberSections();
  document.getElementById('longview-segments-added').click();
}
function longviewAllSections() {
  return document.querySelectorAll('details.track, details.summary, details.versions');
}
function longviewRememberSections() {
  longviewSections = new Map();
  for (const section of longviewAllSections())
    longviewSections.set(section.dataset.source ?? '', { open: section.open, top: section.querySelector('.captions')?.scrollTop });
}
function longviewRestoreSections() {
  for (const section of longviewAllSections()) {
    const before = longviewSections.get(section.dataset.source ?? '');
    if (!before) continue;
    section.open = before.open;
    const list = section.querySelector('.captions');
    if (list) list.scrollTop = before.top;
  }
  longviewRenewTextTracks();
}
// The video element stays while its tracks grow. What it shows goes on with the new segments.
function longviewRenewTextTracks() {
  const video = document.querySelector('.player video');
  const rendered = document.querySelector('template.text-tracks');
  if (!video || !rendered || !video.getAttribute('src').startsWith(`/media/${rendered.dataset.video}#`)) return;
  const modes = new Map();
  for (const element of [...video.querySelectorAll('track')]) {
    modes.set(element.getAttribute('src'), element.track.mode);
    element.remove();
  }
  video.append(rendered.content.cloneNode(true));
  for (const element of video.querySelectorAll('track')) element.track.mode = modes.get(element.getAttribute('src')) ?? 'disabled';
}
document.addEventListener('visibilitychange', longviewFollowJobs);
longviewFollowJobs();
// A video that this page has added is opened, unless the user went on to something else.
function longviewIndexed(id) {
  const tab = document.querySelector('[role=tab][aria-selected=true]');
  // Gradio still handles the event that called this.
  if (id && tab?.textContent.trim() === 'Library') setTimeout(() => { window.location.href = `/?video=${encodeURIComponent(id)}`; }, 100);
}

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
  } else if (!document.getElementById('longview-queue') || !document.getElementById('longview-jobs-ended')) {
    // The page is still being built.
    setTimeout(longviewFollowJobs, 200);
  } else if (!longviewEvents) {
    longviewEvents = new EventSource('/events');
    longviewEvents.onmessage = (message) => longviewShowJobs(JSON.parse(message.data));
  }
}
function longviewShowJobs(state) {
  const line = document.createElement('div');
  line.innerHTML = state.html;
  longviewUpdateChildren(document.getElementById('longview-jobs'), line);
  longviewShowQueue(state);
  if (longviewEnded !== null && state.ended !== longviewEnded) {
    longviewRememberSections();
    document.getElementById('longview-jobs-ended').click();
  }
  longviewEnded = state.ended;
  if (longviewPartialResults !== null && state.partial_results !== longviewPartialResults && !longviewRefresh)
    longviewRefresh = setTimeout(longviewShowSegments, 1000);
  longviewPartialResults = state.partial_results;
}
// The queue of files. The state names all jobs, but has only the rows that have changed.
function longviewShowQueue(state) {
  const queue = document.getElementById('longview-queue');
  queue.hidden = !state.order.length;
  queue.querySelector('summary').textContent = state.summary;
  queue.querySelector('.muted').textContent = state.more;
  const focused = document.activeElement;
  const focusedRow = focused?.closest('#longview-queue tr');
  const body = queue.querySelector('tbody');
  const rows = new Map([...body.rows].map((row) => [row.dataset.job, row]));
  for (const [job, html] of Object.entries(state.rows)) {
    const template = document.createElement('template');
    template.innerHTML = html;
    const row = template.content.querySelector('tr');
    if (rows.has(job)) longviewUpdateChildren(rows.get(job), row);
    else rows.set(job, row);
  }
  const order = state.order.map((job) => rows.get(String(job)));
  const shown = new Set(order);
  for (const row of [...body.rows]) if (!shown.has(row)) row.remove();
  let next = body.rows[0] ?? null;
  for (const row of order) {
    // A row that moves down is taken out, so that those below it need not move.
    if (next && next !== row && next.nextElementSibling === row) {
      next.remove();
      next = row;
    }
    if (next === row) next = row.nextElementSibling;
    else body.insertBefore(row, next);
  }
  // A button that has gone leaves the keyboard's focus to the first one of its row.
  if (focusedRow && !focusedRow.contains(document.activeElement)) (focused.isConnected ? focused : focusedRow.querySelector('button'))?.focus();
}
// Make the children of an element the same as those of another one. Links and buttons that are in both stay, so that a click
// whose press comes before the update and whose release comes after it is one, and the keyboard's focus is kept.
function longviewUpdateChildren(element, wanted) {
  const key = (node) => [node.nodeName, node.dataset?.action, node.getAttribute?.('href')].join(' ');
  let next = element.firstChild;
  for (const child of [...wanted.childNodes]) {
    let same = next;
    // Only elements are searched for: every text is like every other.
    while (same && key(same) !== key(child) && child.nodeType === Node.ELEMENT_NODE) same = same.nextSibling;
    if (!same || key(same) !== key(child)) {
      element.insertBefore(child, next);
      continue;
    }
    while (next !== same) {
      const dropped = next;
      next = next.nextSibling;
      dropped.remove();
    }
    if (child.nodeType === Node.ELEMENT_NODE) {
      for (const { name } of [...same.attributes]) if (name !== 'aria-busy' && !child.hasAttribute(name)) same.removeAttribute(name);
      for (const { name, value } of child.attributes) if (same.getAttribute(name) !== value) same.setAttribute(name, value);
      longviewUpdateChildren(same, child);
    } else if (same.data !== child.data) same.data = child.data;
    next = same.nextSibling;
  }
  while (next) {
    const dropped = next;
    next = next.nextSibling;
    dropped.remove();
  }
}
async function longviewPost(button, path) {
  // A disabled button would lose the keyboard's focus.
  if (button.ariaBusy) return false;
  button.ariaBusy = 'true';
  const reply = await fetch(path, { method: 'POST' }).catch(() => null);
  button.ariaBusy = null;
  if (!reply?.ok) alert((await reply?.json().catch(() => null))?.detail ?? 'The server does not answer.');
  return Boolean(reply?.ok);
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
// The video element stays while its tracks grow. It continues to play, with the new segments.
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

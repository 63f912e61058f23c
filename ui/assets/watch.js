// The watch page: its player, and its parts in step with what happens on the server.
import { listen } from './events.js';

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
// Who clicks on the card of a moment wants to see it. The page that opens takes the note once, so that a reload and a shared link
// do not play.
const PLAYS = 'longview-plays';
let longviewPlays = location.pathname === '/watch' && sessionStorage.getItem(PLAYS) === location.search;
sessionStorage.removeItem(PLAYS);
document.addEventListener('click', (event) => {
  const card = event.target.closest('.moments a');
  if (card && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) sessionStorage.setItem(PLAYS, card.search);
}, true);
document.addEventListener('loadedmetadata', (event) => {
  if (!longviewPlays || !event.target.closest?.('.player')) return;
  longviewPlays = false;
  // Some browsers refuse to play what was not clicked on on this page.
  event.target.play().catch(() => {});
}, true);
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

// Where the video is, the address has, so that a reload and a shared link begin there.
let longviewWrittenS = -1;
const END_S = 3;
const PERIOD_S = 10;
function longviewWriteTime(video) {
  // A tenth of a second, because a sentence may begin in the middle of a second.
  const seconds = Math.round(10 * video.currentTime) / 10;
  const parameters = new URLSearchParams(location.search);
  const id = parameters.get('video');
  if (location.pathname !== '/watch' || !id || seconds === longviewWrittenS) return;
  longviewWrittenS = seconds;
  parameters.set('t', String(seconds));
  history.replaceState(null, '', `/watch?${parameters}`);
  // Who has seen the end begins anew.
  const position = video.duration - video.currentTime < END_S ? 0 : video.currentTime;
  const body = JSON.stringify({ position_s: position });
  fetch(`/v1/videos/${id}`, { method: 'PATCH', body, keepalive: true, headers: { 'Content-Type': 'application/json' } }).catch(() => {});
}
for (const name of ['pause', 'seeked'])
  document.addEventListener(name, (event) => { if (event.target.closest?.('.player')) longviewWriteTime(event.target); }, true);
document.addEventListener('timeupdate', (event) => {
  const video = event.target;
  if (video.closest?.('.player') && !video.paused && Math.abs(video.currentTime - longviewWrittenS) > PERIOD_S) longviewWriteTime(video);
}, true);
window.addEventListener('pagehide', () => {
  const video = document.querySelector('.player video');
  if (video && video.currentTime) longviewWriteTime(video);
});

function longviewIsHere() {
  return location.pathname === '/watch';
}
function longviewVideoId() {
  return document.querySelector('#longview-video textarea, #longview-video input')?.value ?? '';
}
function longviewClick(id) {
  document.getElementById(id)?.click();
}
// What jobs have done since the page was drawn. Segments that a job has committed are shown at most once a second.
const longviewStatuses = new Map();
let longviewRefresh = null;
let longviewRunning = null;
listen('jobs', ({ jobs }) => {
  if (!longviewIsHere()) return;
  for (const job of jobs) {
    const before = longviewStatuses.get(job.job_id);
    longviewStatuses.set(job.job_id, job.status);
    if (job.video_id !== longviewVideoId() && longviewVideoId()) continue;
    if (job.status !== 'running' && longviewRunning === job.video_id) longviewRunning = null;
    if (before === 'running' && job.status !== 'running') longviewShowEnd();
    else if (job.status === 'running') longviewRunning = job.video_id;
    if (job.status === 'running' && !longviewRefresh) longviewRefresh = setTimeout(longviewShowSegments, 1000);
  }
});
listen('videos', ({ ids }) => {
  const id = longviewVideoId();
  // What a running job commits is shown by its own, smaller update.
  if (id && id === longviewRunning) return;
  if (ids.includes(id) || !id) longviewShowEnd();
});
function longviewReset() {
  // The end of a job may be among what was missed.
  longviewRunning = null;
  longviewShowEnd();
  // The reply that was followed may have been cut off.
  if (longviewIsHere() && longviewVideoId()) longviewFollow();
}
listen('reset', longviewReset);
listen('connection', (isThere) => { if (isThere) longviewReset(); });
function longviewShowEnd() {
  if (!longviewIsHere()) return;
  longviewRememberSections();
  longviewClick('longview-jobs-ended');
}
// An answer continues whatever the page does. The page follows it once at a time, and looks again at the end if something changed.
let longviewFollowing = false;
let longviewHasChanged = false;
listen('conversation', ({ video_id: id }) => {
  if (id !== longviewVideoId() || !id) return;
  if (longviewFollowing) longviewHasChanged = true;
  else longviewFollow();
});
function longviewFollow() {
  longviewFollowing = true;
  longviewHasChanged = false;
  longviewClick('longview-conversation-changed');
}
window.longviewAsking = () => {
  longviewFollowing = true;
  // What a link has put into the box is asked now: a reload leaves the box empty.
  const parameters = new URLSearchParams(location.search);
  if (!parameters.has('question')) return;
  parameters.delete('question');
  history.replaceState(null, '', `/watch?${parameters}`);
};
window.longviewFollowed = () => {
  longviewFollowing = false;
  if (longviewHasChanged) longviewFollow();
};
window.longviewNamed = (id) => {
  if (location.pathname !== '/watch' || !id) return;
  const parameters = new URLSearchParams(location.search);
  if (!parameters.get('video')) {
    parameters.set('video', id);
    history.replaceState(null, '', `/watch?${parameters}`);
  }
};
window.longviewOpened = (id) => {
  window.longviewNamed(id);
  // An answer may be running that was asked for before this page was loaded.
  if (id) longviewFollow();
};
// New segments replace the tracks, and the end of a job the summary, too. What is open stays open, and each list stays where it is.
let longviewSections = new Map();
function longviewShowSegments() {
  longviewRefresh = null;
  longviewRememberSections();
  longviewClick('longview-segments-added');
}
function longviewAllSections() {
  return document.querySelectorAll('details.track, details.summary, details.versions');
}
function longviewRememberSections() {
  longviewSections = new Map();
  for (const section of longviewAllSections())
    longviewSections.set(section.dataset.source ?? '', { open: section.open, top: section.querySelector('.captions')?.scrollTop });
}
// What is opened or closed while an update is on its way stays so after it.
document.addEventListener('click', (event) => {
  const section = event.target.closest('summary')?.parentElement;
  if (!section?.matches('details.track, details.summary, details.versions')) return;
  longviewSections.set(section.dataset.source ?? '', { open: !section.open, top: section.querySelector('.captions')?.scrollTop });
}, true);
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
  // The player stays after a new title, too.
  document.querySelector('.player .facts .title').textContent = rendered.dataset.title;
  const modes = new Map();
  for (const element of [...video.querySelectorAll('track')]) {
    modes.set(element.getAttribute('src'), element.track.mode);
    element.remove();
  }
  video.append(rendered.content.cloneNode(true));
  for (const element of video.querySelectorAll('track')) element.track.mode = modes.get(element.getAttribute('src')) ?? 'disabled';
}
window.longviewRestoreSections = longviewRestoreSections;

// Caches all files of the site, so that the page works without a network.
const here = new URL('./', self.location).href;

// The version of the site, which `ddfm web` writes here. A browser looks for a new site by comparing
// the bytes of this file, and would keep the old one forever if they stayed the same.
const version = 'VERSION';

self.addEventListener('install', event => event.waitUntil((async () => {
  const fresh = {cache: 'no-cache'}; // from the server, unless it says that a file is unchanged
  const site = await (await fetch('site.json', fresh)).json();
  const cache = await caches.open(version);
  await cache.addAll(['./', ...site.files].map(name => new Request(name, fresh)));
  await self.skipWaiting();
})()));

self.addEventListener('activate', event => event.waitUntil((async () => {
  const older = name => name.startsWith('ddfm-') && name !== version; // others are not ours
  for (const name of await caches.keys()) if (older(name)) await caches.delete(name);
  await self.clients.claim();
})()));

self.addEventListener('fetch', event => {
  if (event.request.method !== 'GET' || !event.request.url.startsWith(here)) return;
  event.respondWith(caches.match(event.request, {ignoreSearch: true, cacheName: version})
    .then(kept => kept ?? fetch(event.request)));
});

// Caches all files of the site, so that the page works without a network.
const here = new URL('./', self.location).href;

self.addEventListener('install', event => event.waitUntil((async () => {
  const site = await (await fetch('site.json', {cache: 'no-store'})).json();
  const cache = await caches.open(site.version);
  await cache.addAll(['./', ...site.files]);
  await self.skipWaiting();
})()));

self.addEventListener('activate', event => event.waitUntil((async () => {
  const site = await (await caches.match('site.json')).json();
  for (const name of await caches.keys()) if (name !== site.version) await caches.delete(name);
  await self.clients.claim();
})()));

self.addEventListener('fetch', event => {
  if (event.request.method !== 'GET' || !event.request.url.startsWith(here)) return;
  event.respondWith(caches.match(event.request, {ignoreSearch: true})
    .then(kept => kept ?? fetch(event.request)));
});

/// <reference lib="webworker" />
import { NetworkFirst, type PrecacheEntry, Serwist } from "serwist";
import { PAGES } from "@/lib/page-cache";

declare const self: ServiceWorkerGlobalScope & { __SW_MANIFEST?: (PrecacheEntry | string)[] };

const SECONDS_TO_ANSWER = 3;

/**
 * Scripts and styles are kept by the build they belong to. The page is asked of the server, and comes from what is kept
 * when there is no answer; lib/page-cache.ts alone writes and clears it, because it names a person.
 */
const page = new NetworkFirst({
  cacheName: PAGES,
  networkTimeoutSeconds: SECONDS_TO_ANSWER,
  // The filter in the address is read in the browser.
  matchOptions: { ignoreSearch: true },
  plugins: [
    {
      fetchDidSucceed: async ({ response }) => {
        if (response.status >= 500) throw new Error(`The server answered ${response.status}.`);
        return response;
      },
      cacheWillUpdate: async () => null,
    },
  ],
});

new Serwist({
  precacheEntries: self.__SW_MANIFEST,
  precacheOptions: { cleanupOutdatedCaches: true },
  skipWaiting: true,
  clientsClaim: true,
  runtimeCaching: [
    { matcher: ({ request, url }) => request.mode === "navigate" && url.pathname === "/", handler: page },
  ],
}).addEventListeners();

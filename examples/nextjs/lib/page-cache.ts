/** The page as the service worker shows it without a network. It names the person who is signed in. */
export const PAGES = "pages";

const TIMEOUT_MS = 15_000;

/** Keep the page of whoever is signed in now; nothing changes when nobody is, or without an answer. */
export async function keepPage() {
  const response = await fetch("/", { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => null);
  if (!response?.ok || response.redirected) return;
  const pages = await caches.open(PAGES);
  await pages.put("/", response);
}

export const forgetPage = async () => void (await caches.delete(PAGES));

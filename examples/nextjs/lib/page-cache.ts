/** The page as the service worker shows it without a network. It names the person who is signed in. */
export const PAGES = "pages";

const TIMEOUT_MS = 15_000;

/** Keep this person's page, which has their id in it; whatever else is answered changes nothing. */
export async function keepPage(userId: string) {
  const response = await fetch("/", { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => null);
  if (!response?.ok || response.redirected) return;
  const text = await response.clone().text().catch(() => "");
  if (!text.includes(userId)) return;
  const pages = await caches.open(PAGES);
  await pages.put("/", response);
}

export const forgetPage = async () => void (await caches.delete(PAGES));

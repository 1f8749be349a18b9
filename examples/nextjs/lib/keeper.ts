/**
 * What a browser keeps of a person: tasks, changes that wait and questions, in IndexedDB, by person and by tab, so that no
 * tab writes over what another one has. A lock says that a tab is alive; those that are take over from the dead.
 */
import { type DehydrateOptions, hydrate, type QueryClient } from "@tanstack/react-query";
import type { PersistedClient, Persister } from "@tanstack/react-query-persist-client";
import { createStore, delMany, entries, get, keys, promisifyRequest } from "idb-keyval";
import type { Answered, Question } from "./changes";
import { type Known, TASKS } from "./follow";
import { forgetPage } from "./page-cache";
import { ANSWERED, QUESTIONS } from "./queue";

export type Keeper = ReturnType<typeof createKeeper>;
type Key = [userId: string, tab: string];

const CHANNEL = "who-stays";
const FORMER_TAB = "former-tab";
const SECONDS_TO_END = 2;
const SECONDS_BETWEEN_LOOKS = 5;

const store = createStore("todo", "kept");
const nameOf = (key: Key) => `kept/${key.join("/")}`;
const allKept = () => entries<Key, PersistedClient>(store);
const allKeys = async () => (await keys<Key>(store)) as Key[];
const keysOf = async (userId: string) => (await allKeys()).filter(([owner]) => owner === userId);

/** Everything that has data, whatever its last fetch came to, and every change that has no answer yet. */
export const dehydrateOptions: DehydrateOptions = {
  shouldDehydrateQuery: ({ state }) => state.data !== undefined,
  shouldDehydrateMutation: ({ state }) => state.status === "pending",
};

/** `onKept` hears after each attempt whether this browser keeps anything: its storage may be full, or forbidden. */
export function createKeeper(userId: string, onKept: (isKept: boolean) => void) {
  const own: Key = [userId, crypto.randomUUID()];
  /** Of closed tabs, and in this one's memory by now. */
  const adopted: Key[] = [];
  let next: PersistedClient | undefined;
  let writing: Promise<void> | undefined;
  let isStopped = false;

  /** The newest state only. What is changed in one go is written in one go. */
  async function write() {
    await Promise.resolve();
    try {
      while (next && !isStopped) {
        const value = settled(next);
        next = undefined;
        await replace(own, value, [...adopted]);
        onKept(true);
      }
    } catch {
      onKept(false);
    } finally {
      writing = undefined;
    }
  }

  /** What was left at the last look as well belongs to no page that is just being loaded again. */
  async function adopt(client: QueryClient, leftBefore: string[]) {
    const left: string[] = [];
    const known = [own, ...adopted].map(([, tab]) => tab);
    for (const key of (await keysOf(userId)).filter(([, tab]) => !known.includes(tab))) {
      await navigator.locks.request(nameOf(key), { ifAvailable: true }, async (lock) => {
        if (!lock || isStopped) return;
        if (!leftBefore.includes(key[1])) return void left.push(key[1]);
        const kept = await get<PersistedClient>(key, store);
        adopted.push(key);
        if (kept) takeIn(client, kept);
        await writing;
      });
    }
    return left;
  }

  const persister: Persister = {
    persistClient: (client) => {
      next = client;
      return (writing ??= write());
    },
    restoreClient: async () => {
      await forgetOthers(userId);
      void navigator.locks.request(nameOf(own), () => new Promise(() => {}));
      const restored = await takeOver(own);
      sessionStorage.setItem(FORMER_TAB, own[1]);
      return restored && (isOpen(restored) ? restored : pruned(restored));
    },
    removeClient: () => delMany([own], store),
  };

  return {
    persister,
    /** Resolves when all that was changed until now is kept, or cannot be. */
    whenKept: () => writing ?? Promise.resolve(),
    /** From now on, what other tabs leave when they are closed becomes this one's. */
    followTabs: async (client: QueryClient) => {
      for (let left: string[] = []; !isStopped; await delay(SECONDS_BETWEEN_LOOKS)) {
        left = await adopt(client, left).catch(() => []);
      }
    },
    /** Whether another tab, open or closed, has changes that wait or questions. */
    isOpenElsewhere: async () =>
      (await allKept()).some(([[owner, tab], client]) => owner === userId && tab !== own[1] && isOpen(client)),
    /** Resolves when nothing is written any more. */
    stop: async () => {
      isStopped = true;
      await writing;
    },
  };
}

/** A query's last failure is over when the page is opened again, and a change that was under way has to be sent again. */
function settled({ clientState, ...client }: PersistedClient): PersistedClient {
  return {
    ...client,
    clientState: {
      queries: clientState.queries.map((query) => ({
        ...query,
        state: { ...query.state, status: "success", error: null, fetchFailureReason: null },
      })),
      mutations: clientState.mutations.map((mutation) => ({
        ...mutation,
        state: { ...mutation.state, isPaused: true, failureReason: null },
      })),
    },
  };
}

/** What tabs have left that are no more becomes this one's; of those that live only the tasks are read. */
async function takeOver(own: Key) {
  const former = sessionStorage.getItem(FORMER_TAB);
  let kept: PersistedClient | undefined;
  for (const key of await keysOf(own[0])) {
    // After a reload the page before this one may just be ending. In a duplicate of a tab it is not.
    const options = key[1] === former ? { signal: AbortSignal.timeout(SECONDS_TO_END * 1000) } : { ifAvailable: true };
    const left = (await get<PersistedClient>(key, store))!;
    const isLeft = await navigator.locks
      .request(nameOf(key), options, async (lock) => lock && (kept = await join(key, own, kept)))
      .catch(() => null);
    if (!isLeft) kept = merge(left && withTasksOnly(left), kept);
  }
  return kept;
}

const delay = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** In one transaction, so that nothing is ever in two places. */
const replace = (own: Key, client: PersistedClient, adopted: Key[]) =>
  store("readwrite", (table) => {
    table.put(client, own);
    for (const key of adopted) table.delete(key);
    return promisifyRequest(table.transaction);
  });

/** The same. */
const join = (key: Key, own: Key, kept: PersistedClient | undefined) =>
  store("readwrite", async (table) => {
    const both = merge(await promisifyRequest<PersistedClient | undefined>(table.get(key)), kept);
    if (both) table.put(both, own);
    table.delete(key);
    await promisifyRequest(table.transaction);
    return both;
  });

const dataOf = <T>({ clientState }: PersistedClient, [name]: readonly string[]) =>
  clientState.queries.find(({ queryKey }) => queryKey[0] === name)?.state.data as T | undefined;

const isOpen = (client: PersistedClient) =>
  client.clientState.mutations.length > 0 || Boolean(dataOf<Question[]>(client, QUESTIONS)?.length);

/** Without what only late answers and changes that wait have a use for. */
function pruned(client: PersistedClient): PersistedClient {
  const { clientState, ...rest } = withTasksOnly(client);
  const queries = clientState.queries.map((query) => ({
    ...query,
    state: { ...query.state, data: { ...(query.state.data as Known), deleted: [] } },
  }));
  return { ...rest, clientState: { ...clientState, queries } };
}

/** Into a client that is in use, whose own tasks are as good. */
function takeIn(client: QueryClient, left: PersistedClient) {
  client.setQueryData<Answered>(ANSWERED, (own) => ({ ...dataOf<Answered>(left, ANSWERED), ...own }));
  client.setQueryData<Question[]>(QUESTIONS, (own = []) => [...own, ...(dataOf<Question[]>(left, QUESTIONS) ?? [])]);
  hydrate(client, { queries: [], mutations: left.clientState.mutations });
  void client.resumePausedMutations();
}

/** The newer tasks, and all that waits or is asked, in the order in which it was done. */
function merge(one: PersistedClient | undefined, other: PersistedClient | undefined): PersistedClient | undefined {
  if (!one || !other) return one ?? other;
  const merged: Record<string, unknown> = {
    [ANSWERED[0]!]: { ...dataOf<object>(one, ANSWERED), ...dataOf<object>(other, ANSWERED) },
    [QUESTIONS[0]!]: [one, other].flatMap((client) => dataOf<Question[]>(client, QUESTIONS) ?? []),
  };
  const queries = [one, other]
    .flatMap(({ clientState }) => clientState.queries)
    .toSorted((a, b) => b.state.dataUpdatedAt - a.state.dataUpdatedAt)
    .filter(({ queryHash }, index, all) => all.findIndex((query) => query.queryHash === queryHash) === index)
    .map((query) => {
      const data = merged[String(query.queryKey[0])];
      return data ? { ...query, state: { ...query.state, data } } : query;
    });
  const mutations = [one, other]
    .flatMap(({ clientState }) => clientState.mutations)
    .toSorted((a, b) => a.state.submittedAt - b.state.submittedAt);
  return { ...one, clientState: { queries, mutations } };
}

const withTasksOnly = (client: PersistedClient): PersistedClient => ({
  ...client,
  clientState: { queries: client.clientState.queries.filter(({ queryKey }) => queryKey[0] === TASKS[0]), mutations: [] },
});

let channel: BroadcastChannel | undefined;

/** One for all, because a channel does not hear itself. */
const openChannel = () => (channel ??= new BroadcastChannel(CHANNEL));

/** `leave` is called when another tab says that somebody else, or nobody, is signed in now. Gives what ends this. */
export function onLeave(userId: string, leave: () => void) {
  const open = openChannel();
  open.onmessage = ({ data }) => data !== userId && leave();
  return () => void (open.onmessage = null);
}

async function forget(which: (key: Key) => boolean) {
  await delMany((await allKeys()).filter(which), store);
}

/** Whatever any person has left, because `userId` is signed in now. */
async function forgetOthers(userId: string) {
  openChannel().postMessage(userId);
  await forget(([owner]) => owner !== userId);
}

/** What is kept of this person, because somebody else turns out to be signed in. */
export const forgetPerson = (userId: string) => forget(([owner]) => owner === userId);

/** What nothing waits in: with a sign-out whose answer was lost, it would stay behind the sign-in page. */
export async function forgetTasks() {
  const idle = (await allKept()).filter(([, client]) => !isOpen(client));
  await delMany(idle.map(([key]) => key), store);
}

/** Everything, because nobody is signed in any more. */
export async function forgetEverybody() {
  openChannel().postMessage(null);
  await Promise.allSettled([forget(() => true), forgetPage()]);
}

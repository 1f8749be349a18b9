/** All tasks, kept in step with the API by its changes since the last look: of other devices, and of this one. */
import type { Query, QueryClient } from "@tanstack/react-query";
import { type Api, ApiError, type Task } from "./api";

export const TASKS = ["tasks"];

/** `token` says up to where; `deleted` keeps a late answer from bringing a task back; `changedAt` in milliseconds. */
export type Known = { tasks: Task[]; deleted: number[]; token: string; changedAt: number };

const SHORTEST_WAIT_MS = 2_000;
const LONGEST_QUIET_MS = 10_000;
const LONGEST_AWAY_MS = 30_000;
const LONGEST_ASKED_MS = 60_000;

export async function follow(client: QueryClient, api: Api, signal: AbortSignal): Promise<Known> {
  let known = client.getQueryData<Known>(TASKS);
  for (;;) {
    const since = known?.token;
    try {
      const { data } = await api.GET("/api/changes", { params: { query: since ? { since } : {} }, signal });
      if (!data) throw new ApiError("The server's answer is empty.");
      known = apply(known ?? { tasks: [], deleted: [], token: "", changedAt: 0 }, data.tasks, data.deleted, data.token);
      if (!data.more) return known;
    } catch (error) {
      // The token is too old, or of another database: from the beginning.
      if (!since || !(error instanceof ApiError) || ![400, 410].includes(error.status)) throw error;
      known = undefined;
    }
  }
}

/** Answers may come twice and late: a task's newer state stays, and what was deleted stays deleted. */
function apply(known: Known, tasks: Task[], deleted: number[], token = known.token): Known {
  if (!tasks.length && !deleted.length) return token === known.token ? known : { ...known, token };
  const gone = new Set([...known.deleted, ...deleted]);
  const all = new Map(known.tasks.map((task) => [task.id, task]));
  for (const task of tasks) if (task.updated_at > (all.get(task.id)?.updated_at ?? "")) all.set(task.id, task);
  for (const id of gone) all.delete(id);
  return { tasks: [...all.values()], deleted: [...gone], token, changedAt: Date.now() };
}

export const updateTask = (client: QueryClient, task: Task) => edit(client, (known) => apply(known, [task], []));
export const removeTask = (client: QueryClient, id: number) => edit(client, (known) => apply(known, [], [id]));

function edit(client: QueryClient, change: (known: Known) => Known) {
  // Cancelled first: its answer may be older than this change.
  void client.cancelQueries({ queryKey: TASKS });
  client.setQueryData<Known>(TASKS, (known) => known && change(known));
  return true;
}

/** Milliseconds until the next look: a quarter of the time that nothing has changed, or that nothing was answered. */
export function waitBeforeNextLook({ state: { data, dataUpdatedAt, error } }: Query<Known>) {
  const since = error ? Math.max(dataUpdatedAt, performance.timeOrigin) : (data?.changedAt ?? 0);
  const longest = error ? LONGEST_AWAY_MS : LONGEST_QUIET_MS;
  const wait = Math.min(Math.max((Date.now() - since) / 4, SHORTEST_WAIT_MS), longest);
  return Math.round(Math.max(wait, askedWait(error)));
}

/** The milliseconds of `Retry-After`, but a minute at most: whoever asks for an hour may be back at once. */
export const askedWait = (error: Error | null) =>
  Math.min(1000 * ((error instanceof ApiError && error.retryAfterSeconds) || 0), LONGEST_ASKED_MS);

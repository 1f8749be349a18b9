/** What the components ask for: tasks as they will be, in the order of a filter, and a way to change them. */
import {
  onlineManager,
  QueryCache,
  QueryClient,
  skipToken,
  useMutation,
  useMutationState,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { createContext, useCallback, useContext, useSyncExternalStore } from "react";
import { type Api, ApiError, SomebodyElseError, type TaskQuery } from "./api";
import { type Answered, type Change, insist, type Question, type ShownTask, withChanges } from "./changes";
import { follow, TASKS, waitBeforeNextLook } from "./follow";
import type { Keeper } from "./keeper";
import { ANSWERED, CHANGE, contact, isAsked, QUESTIONS, setUpQueue, takeQuestion } from "./queue";

export type Filter = Required<Pick<TaskQuery, "status" | "sort">>;
export type Tools = { api: Api; keeper: Keeper; watched: Set<string> };

export const ToolsContext = createContext<Tools | null>(null);

function useTools() {
  const tools = useContext(ToolsContext);
  if (!tools) throw new Error("useTools must be used inside a ToolsContext");
  return tools;
}

/** One person's. `onSomebodyElse` is called when another person turns out to be signed in. */
export function createQueryClient({ api, watched }: Tools, onSomebodyElse: () => void) {
  const onError = (error: Error) => error instanceof SomebodyElseError && onSomebodyElse();
  const client = new QueryClient({
    queryCache: new QueryCache({ onError }),
    defaultOptions: { queries: { gcTime: Infinity } },
  });
  setUpQueue(client, api, ({ key }) => watched.has(key));
  return client;
}

/** A sentence for people, whatever was thrown. */
export const messageOf = (error: Error) =>
  error instanceof ApiError ? error.message : "Something unexpected went wrong. Try again.";

const LONGEST_IN_A_FORM_MS = 5_000;
const NOTHING: Answered = {};
const NO_QUESTIONS: Question[] = [];

/** Undefined until something is known. "always": the browser may be wrong about being offline, and this finds it out. */
export function useTasks(filter: Filter) {
  const { api } = useTools();
  const client = useQueryClient();
  const query = useQuery({
    queryKey: TASKS,
    queryFn: ({ signal }) => contact(follow(client, api, signal)),
    networkMode: "always",
    retry: false,
    refetchInterval: waitBeforeNextLook,
  });
  const { data: answered = NOTHING } = useQuery<Answered>({ queryKey: ANSWERED, queryFn: skipToken });
  const changes = useWaiting();
  const tasks = query.data && arrange(withChanges(query.data.tasks, changes, answered), filter);
  return { query, tasks };
}

/** The changes that are not answered yet, in the order in which they are sent. */
export const useWaiting = () =>
  useMutationState({
    filters: { mutationKey: CHANGE, status: "pending" },
    select: ({ state }) => state.variables as Change,
  });

export const useIsOnline = () =>
  useSyncExternalStore(
    (onChange) => onlineManager.subscribe(onChange),
    () => onlineManager.isOnline(),
    () => true,
  );

const compare = <T extends string | number>(a: T, b: T) => (a < b ? -1 : a > b ? 1 : 0);
/** Tasks that have no number yet are the newest. */
const number = ({ id }: ShownTask) => (typeof id === "number" ? id : Infinity);

/** The orders of `GET /api/tasks`. */
const ORDERS: Record<Filter["sort"], (a: ShownTask, b: ShownTask) => number> = {
  created: (a, b) => compare(b.created_at, a.created_at) || compare(number(b), number(a)),
  title: (a, b) => compare(a.title.toLowerCase(), b.title.toLowerCase()) || compare(number(a), number(b)),
  due_date: (a, b) => compare(a.due_date ?? "no date", b.due_date ?? "no date") || compare(number(a), number(b)),
};

const arrange = (tasks: ShownTask[], { status, sort }: Filter) =>
  tasks.filter(({ completed }) => status === "all" || completed === (status === "completed")).sort(ORDERS[sort]);

/**
 * Make a change. Resolves when it was made, or waits and is kept, with whether that is so: false when it has become a
 * question. Rejects when it was refused at once; what is refused later becomes a question too.
 */
export function useChange() {
  const client = useQueryClient();
  const { keeper, watched } = useTools();
  const { mutateAsync } = useMutation<boolean, Error, Change>({ mutationKey: CHANGE });
  return useCallback(
    async (change: Change) => {
      watched.add(change.key);
      const made = mutateAsync(change).catch((error: unknown) => {
        if (!isAsked(client, change)) throw error;
        return false;
      });
      // Once it waits, nobody may be left to hear of a failure here.
      made.catch(() => {});
      const { waits, stop } = untilWaiting(client, change);
      try {
        const isMade = await Promise.race([made, waits]);
        await keeper.whenKept();
        return isMade;
      } finally {
        stop();
        watched.delete(change.key);
      }
    },
    [client, keeper, watched, mutateAsync],
  );
}

/** Resolves when the change is paused, has failed once and is going to be tried again, or is not answered for long. */
function untilWaiting(client: QueryClient, { key }: Change) {
  const cache = client.getMutationCache();
  let stop = () => {};
  const waits = new Promise<true>((resolve) => {
    const check = () => {
      const mutation = cache.find<boolean, Error, Change>({ mutationKey: CHANGE, predicate: ({ state }) => (state.variables as Change).key === key });
      const { status, isPaused = false, failureCount = 0 } = mutation?.state ?? {};
      if (status === "pending" && (isPaused || failureCount > 0)) resolve(true);
    };
    const unsubscribe = cache.subscribe(check);
    const timer = setTimeout(() => resolve(true), LONGEST_IN_A_FORM_MS);
    stop = () => {
      unsubscribe();
      clearTimeout(timer);
    };
    check();
  });
  return { waits, stop };
}

/** Changes that were not made, and what a person can say to each: to have it made all the same, or to leave it. */
export function useQuestions() {
  const client = useQueryClient();
  const { mutate } = useMutation<boolean, Error, Change>({ mutationKey: CHANGE });
  const { data: questions = NO_QUESTIONS } = useQuery<Question[]>({ queryKey: QUESTIONS, queryFn: skipToken });
  const drop = ({ change }: Question) => takeQuestion(client, change.key);

  function keepMine(question: Question) {
    // In this order, or the change would join its own question; and once, whatever was clicked twice.
    const taken = drop(question);
    if (taken) mutate(insist(taken));
  }

  return { questions, keepMine, drop };
}

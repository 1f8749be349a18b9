/**
 * The queue: TanStack's mutations, one after the other, paused while the API is away and kept by lib/keeper.ts until they
 * are answered. What an attempt needs to know of former answers is kept in the query cache beside the tasks.
 */
import { onlineManager, type QueryClient } from "@tanstack/react-query";
import { type Api, ApiError, type Task } from "./api";
import { type Answered, type Change, clashes, combine, type Question, taskOf, type TaskId } from "./changes";
import { askedWait, removeTask, TASKS, updateTask } from "./follow";

export const CHANGE = ["change"];
export const ANSWERED = ["answered"];
export const QUESTIONS = ["questions"];

const MOST_FAILURES = 8;
const LONGEST_WAIT_MS = 30_000;

/** What goes by: no answer, an answer that says "later", and a session that has ended, which the person can begin again. */
const isPassing = (error: unknown): error is ApiError =>
  error instanceof ApiError && (isFailure(error) || [401, 408, 425, 429].includes(error.status));
const isFailure = ({ status }: ApiError) => status === 0 || status >= 500;

/** Whether the API is there is known from the looks for changes; while it is not, mutations pause. */
export async function contact<T>(request: Promise<T>) {
  try {
    const answer = await request;
    onlineManager.setOnline(true);
    return answer;
  } catch (error) {
    if (error instanceof ApiError) onlineManager.setOnline(!isPassing(error) || error.status === 401);
    throw error;
  }
}

export const retryDelay = (failures: number, error: Error) =>
  Math.max(Math.min(1000 * 2 ** failures, LONGEST_WAIT_MS), askedWait(error));

/** `isWatched` says whether a form still waits for the answer, and will itself show what was refused. */
export function setUpQueue(client: QueryClient, api: Api, isWatched: (change: Change) => boolean) {
  client.setMutationDefaults(CHANGE, {
    scope: { id: "changes" },
    mutationFn: (change: Change) =>
      send(client, api, change).catch(async (error: unknown) => {
        // A look tells whether the API is away, or this change alone fails.
        if (isPassing(error)) await client.refetchQueries({ queryKey: TASKS }, { cancelRefetch: false });
        throw error;
      }),
    // What alone fails must not hold up all that come after it for ever.
    retry: (failures, error) => isPassing(error) && !(failures >= MOST_FAILURES && isAlone(client, error)),
    retryDelay,
    onError: (error, change: Change) => {
      // The form that waits for a new task does not know what has been done to it since.
      const isToAsk = !isWatched(change) || (change.kind === "add" && isFollowed(client, change));
      if (isToAsk) ask(client, { change, message: error.message });
    },
    onSettled: () => {
      // This is still one of them. What others have changed meanwhile is fetched when the last one is answered.
      if (client.isMutating({ mutationKey: CHANGE }) === 1) void client.invalidateQueries({ queryKey: TASKS });
    },
  });
}

/** Whether this fails although a look for changes succeeds. */
const isAlone = (client: QueryClient, error: ApiError) =>
  isFailure(error) && client.getQueryState(TASKS)?.status === "success";

const answeredOf = (client: QueryClient) => client.getQueryData<Answered>(ANSWERED) ?? {};
const questionsOf = (client: QueryClient) => client.getQueryData<Question[]>(QUESTIONS) ?? [];

/** Gives whether the change was made; if not, there is a question. */
async function send(client: QueryClient, api: Api, change: Change) {
  if (join(client, change)) return false;
  const header = { "Idempotency-Key": change.key };
  if (change.kind === "add") {
    const { data } = await api.POST("/api/tasks", { params: { header }, body: change.values });
    // Several at once are answered with several.
    return keepAnswer(client, change.key, Array.isArray(data) ? data[0] : data);
  }
  const answered = answeredOf(client)[change.seen.id];
  const id = answered?.id ?? change.seen.id;
  if (typeof id === "string") return false; // Its adding was refused.
  // The newer of what the person saw and what a former change was answered; `updated_at` sorts as text.
  let version = change.seen.updated_at;
  if (answered && answered.updated_at > version) {
    // It may have what another device did, and this person has not seen.
    if (isAgainst(client, change, answered)) return ask(client, { change, theirs: answered });
    version = answered.updated_at;
  }
  for (;;) {
    const params = { path: { id }, header: { ...header, "If-Match": `"${version}"` } };
    try {
      if (change.kind === "update") {
        const { data } = await api.PUT("/api/tasks/{id}", { params, body: change.values });
        return keepAnswer(client, change.seen.id, data);
      }
      await api.DELETE("/api/tasks/{id}", { params });
      return removeTask(client, id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404) {
        removeTask(client, id);
        // A deletion may have been made before, and its answer lost; or another device wanted the same.
        return change.kind === "delete" || ask(client, { change, theirs: null });
      }
      if (error.status !== 412 || !error.task) throw error;
      updateTask(client, error.task);
      if (isAgainst(client, change, error.task)) return ask(client, { change, theirs: error.task });
      version = error.task.updated_at;
    }
  }
}

/** Whether this change clashes, with those of the same task that wait and were made before `theirs` was seen. */
function isAgainst(client: QueryClient, change: Change, theirs: Task) {
  const isLater = (other: Change) =>
    other.kind !== "add" && other.key !== change.key && isSameTask(client, other, change) && other.seen.updated_at < theirs.updated_at;
  const whole = waitingIn(client).filter(isLater).reduce((whole, later) => combine(whole, later) ?? whole, change);
  return clashes(whole, theirs);
}

/** Whether something waits or is asked. */
export const isOpenIn = (client: QueryClient) => waitingIn(client).length > 0 || questionsOf(client).length > 0;

const waitingIn = (client: QueryClient) =>
  client
    .getMutationCache()
    .findAll({ mutationKey: CHANGE, status: "pending" })
    .map(({ state }) => state.variables as Change);

function isSameTask(client: QueryClient, one: Change, other: Change) {
  const answered = answeredOf(client);
  const idOf = (change: Change) => answered[taskOf(change)]?.id ?? taskOf(change);
  return idOf(one) === idOf(other);
}

const isFollowed = (client: QueryClient, change: Change) =>
  waitingIn(client).some((other) => other.key !== change.key && isSameTask(client, other, change));

export const isAsked = (client: QueryClient, { key }: Change) =>
  questionsOf(client).some(({ change }) => change.key === key);

/** While a question about the task is open, a further change of it belongs to the answer. */
function join(client: QueryClient, change: Change) {
  const question = questionsOf(client).find((question) => isSameTask(client, question.change, change));
  if (!question) return false;
  // After a reload, the change itself may be tried once more.
  if (question.change.key === change.key) return true;
  takeQuestion(client, question.change.key);
  const whole = combine(question.change, change);
  if (whole) ask(client, { ...question, change: whole });
  return true;
}

function ask(client: QueryClient, question: Question) {
  client.setQueryData<Question[]>(QUESTIONS, (questions = []) => [...questions, question]);
  return false;
}

/** The question about this change, which is open no more; undefined when it was not open. */
export function takeQuestion(client: QueryClient, key: string) {
  const questions = questionsOf(client);
  const taken = questions.find(({ change }) => change.key === key);
  client.setQueryData<Question[]>(QUESTIONS, questions.filter((question) => question !== taken));
  return taken;
}

function keepAnswer(client: QueryClient, shownId: TaskId, task: Task | undefined) {
  if (!task) throw new ApiError("The server's answer is empty.");
  updateTask(client, task);
  client.setQueryData<Answered>(ANSWERED, (answered) => ({ ...answered, [shownId]: task, [task.id]: task }));
  return true;
}

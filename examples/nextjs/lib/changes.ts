/** What a person does to tasks: shown at once, kept until the API has answered, and asked about when it clashes. */
import type { Task, TaskCreate, TaskUpdate } from "./api";

/** A number of the API's; until it has answered, the key of the change that adds the task. */
export type TaskId = number | string;
export type ShownTask = Omit<Task, "id"> & { id: TaskId; key?: TaskId; isWaiting?: boolean };

type Action =
  | { kind: "add"; values: TaskCreate; after: number }
  | { kind: "update"; seen: ShownTask; values: TaskUpdate }
  | { kind: "delete"; seen: ShownTask };

/**
 * `key` is the Idempotency-Key of every attempt; `seen` is the task as the person saw it; `after` is the highest id that was
 * known when the task was added.
 */
export type Change = Action & { key: string; madeAt: string };

/** By the id a change had for its task: the task as the API answered last. */
export type Answered = Record<TaskId, Task>;

/**
 * A change that was not made. `theirs` is the task as another device has left it, null when that has deleted it;
 * without it the API has refused the change, as `message` says.
 */
export type Question = { change: Change; theirs?: Task | null; message?: string };

/** What a person sets of a task, as it is when they do not. */
const BLANK = { title: "", description: null, completed: false, due_date: null } satisfies Required<Omit<TaskCreate, "user_id">>;
const FIELDS = Object.keys(BLANK) as (keyof typeof BLANK)[];

/** As the API does it, so that a task looks the same before and after its answer. */
const trim = <V extends TaskUpdate>(values: V): V =>
  typeof values.title === "string" ? { ...values, title: values.title.trim() } : values;

export function newChange(action: Action): Change {
  const values = "values" in action ? { values: trim(action.values) } : {};
  return { ...action, ...values, key: crypto.randomUUID(), madeAt: new Date().toISOString() } as Change;
}

export const taskOf = (change: Change) => (change.kind === "add" ? change.key : change.seen.id);

/** The task as it will be. */
export function resultOf(change: Change): ShownTask {
  if (change.kind === "delete") return change.seen;
  if (change.kind === "update") return { ...change.seen, ...withoutUndefined(change.values) };
  const { key, madeAt, values } = change;
  return { ...BLANK, id: key, created_at: madeAt, updated_at: "", ...withoutUndefined(values) };
}

const withoutUndefined = (values: TaskUpdate) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<Omit<Task, "id">>;

/** The tasks as they will be when all of these are answered. */
export function withChanges(tasks: Task[], changes: Change[], answered: Answered): ShownTask[] {
  // The key that a task was shown by stays, so that what is open on it stays open.
  const keys = new Map(Object.entries(answered).map(([key, { id }]) => [id, Number(key) === id ? id : key]));
  const shown = new Map<TaskId, ShownTask>(tasks.map((task) => [task.id, { ...task, key: keys.get(task.id) ?? task.id }]));
  const ids = new Map<TaskId, TaskId>();
  for (const change of changes) {
    const twin = change.kind === "add" && !answered[change.key] && twinOf(change, tasks);
    if (twin) ids.set(change.key, twin.id);
    const id = answered[taskOf(change)]?.id ?? ids.get(taskOf(change)) ?? taskOf(change);
    const task = shown.get(id);
    if (change.kind === "delete") shown.delete(id);
    else if (change.kind === "update" && task)
      shown.set(id, { ...task, ...withoutUndefined(change.values), isWaiting: true });
    else if (change.kind === "add" && !answered[change.key] && !twin)
      shown.set(id, { ...resultOf(change), key: id, isWaiting: true });
  }
  return [...shown.values()];
}

/** The task of an addition whose answer was lost: it has come from the API by itself, and is not shown twice. */
const twinOf = (change: Change & { kind: "add" }, tasks: Task[]) =>
  tasks.find((task) => task.id > change.after && FIELDS.every((name) => task[name] === resultOf(change)[name]));

/** Two changes of one task as one; undefined when nothing is left to do. */
export function combine(first: Change, later: Change): Change | undefined {
  if (later.kind === "delete") return first.kind === "add" ? undefined : { ...later, seen: first.kind === "update" ? first.seen : later.seen };
  if (later.kind === "add" || first.kind === "delete") return later;
  return { ...first, values: { ...first.values, ...later.values } } as Change;
}

/** Whether another device has changed what this changes; a deletion stands against any change. */
export function clashes(change: Change, theirs: Task) {
  if (change.kind === "add") return false;
  const values: TaskUpdate = change.kind === "update" ? change.values : {};
  return FIELDS.some(
    (name) =>
      (change.kind === "delete" || values[name] !== undefined) &&
      theirs[name] !== change.seen[name] &&
      theirs[name] !== values[name],
  );
}

/** The change that has this person's way against what another device did. */
export function insist({ change, theirs }: Question): Change {
  if (theirs === undefined || change.kind === "add") return change;
  if (theirs) return newChange({ ...change, seen: theirs });
  const result = resultOf(change);
  const values = Object.fromEntries(FIELDS.map((name) => [name, result[name]])) as typeof BLANK;
  return newChange({ kind: "add", values, after: Infinity });
}

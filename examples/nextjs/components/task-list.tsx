import { useIsRestoring } from "@tanstack/react-query";
import { type Ref, useEffect, useRef, useState } from "react";
import { newChange } from "@/lib/changes";
import { handOnFocus, mayMoveFocus } from "@/lib/focus";
import { messageOf, useChange, useIsOnline, useTasks } from "@/lib/tasks";
import { Notice, type NoticeContent } from "./notice";
import { OfflineLine } from "./offline-line";
import { Questions } from "./questions";
import { SignInLink } from "./sign-in-link";
import { TaskForm, type TaskValues, valuesOf } from "./task-form";
import { type Notify, TaskItem } from "./task-item";
import { Toolbar, useFilter } from "./toolbar";

const PAGE_SIZE = 50;

const EMPTY = {
  all: { title: "Nothing to do yet", text: "Add your first task above." },
  pending: { title: "All done", text: "There is no pending task." },
  completed: { title: "Nothing completed yet", text: "What you tick off is shown here." },
};

export function TaskList({ isKept }: { isKept: boolean }) {
  const [filter, setFilter] = useFilter();
  const [size, setSize] = useState(PAGE_SIZE);
  const [notice, setNotice] = useState<NoticeContent>({ done: "", failed: "" });
  const [adding, setAdding] = useState<{ isPending: boolean; error: Error | null }>({ isPending: false, error: null });
  const list = useRef<HTMLUListElement>(null);
  const more = useRef<HTMLButtonElement>(null);
  const firstNew = useRef<number>(null);
  // The state comes a render too late for the second click of a double click.
  const isAdding = useRef(false);
  const isRestoring = useIsRestoring();
  const isOnline = useIsOnline();
  const { query, tasks } = useTasks(filter);
  const change = useChange();
  const notify: Notify = (text, kind = "done") => setNotice((notice) => ({ ...notice, [kind]: text }));

  async function addTask(values: TaskValues, form: HTMLFormElement) {
    // What was kept comes first.
    if (isAdding.current || isRestoring) return;
    isAdding.current = true;
    setAdding({ isPending: true, error: null });
    try {
      const after = query.data ? query.data.tasks.reduce((highest, { id }) => Math.max(highest, id), 0) : Infinity;
      const isMade = await change(newChange({ kind: "add", values, after }));
      setAdding({ isPending: false, error: null });
      if (isMade) notify(`Added “${values.title.trim()}”.`);
    } catch (error) {
      // The form says what is wrong.
      return setAdding({ isPending: false, error: error as Error });
    } finally {
      isAdding.current = false;
    }
    // Unless the next task is being typed already.
    if (JSON.stringify(valuesOf(form)) !== JSON.stringify(values)) return;
    form.reset();
    if (mayMoveFocus(form.querySelector(".primary"))) form.querySelector("input")?.focus();
  }

  function showMore() {
    firstNew.current = size;
    setSize(size + PAGE_SIZE);
  }

  // The button may be gone by now, and reading goes on here anyway.
  useEffect(() => {
    const item = firstNew.current === null ? undefined : list.current?.children[firstNew.current];
    firstNew.current = null;
    if (item && mayMoveFocus(more.current)) item.querySelector("input")?.focus();
  }, [size]);

  return (
    <>
      <section className="card" aria-label="New task">
        <TaskForm label="Add a task" isCompact error={adding.error} onSubmit={addTask}>
          <button className="primary" aria-disabled={adding.isPending || isRestoring}>
            {adding.isPending ? "Adding…" : "Add task"}
          </button>
        </TaskForm>
      </section>

      <section aria-labelledby="tasks" aria-busy={!tasks}>
        <h1 id="tasks" tabIndex={-1}>
          Your tasks
        </h1>
        <OfflineLine error={query.error} isKept={isKept} />
        <Questions />
        <Toolbar
          filter={filter}
          onChange={(filter) => {
            setFilter(filter);
            setSize(PAGE_SIZE);
          }}
        />
        {query.error && (isOnline || !tasks) && (
          <LoadError ref={handOnFocus} error={query.error} onRetry={() => query.refetch()} />
        )}
        {query.isPending && !query.error && <Skeleton />}
        {tasks?.length === 0 && <Empty {...EMPTY[filter.status]} />}
        {tasks && tasks.length > 0 && (
          <ul ref={list} className="tasks">
            {tasks.slice(0, size).map((task) => (
              <TaskItem key={task.key} task={task} notify={notify} />
            ))}
          </ul>
        )}
        {tasks && tasks.length > size && (
          <button ref={more} type="button" className="more" onClick={showMore}>
            Load more
          </button>
        )}
      </section>
      <Notice {...notice} onDismiss={() => notify("", "failed")} />
    </>
  );
}

type LoadErrorProps = { ref: Ref<HTMLDivElement>; error: Error; onRetry: () => void };

function LoadError({ ref, error, onRetry }: LoadErrorProps) {
  return (
    <div ref={ref} className="alert" role="alert">
      <p>Your tasks could not be loaded. {messageOf(error)}</p>
      <div className="buttons">
        <SignInLink error={error} />
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      </div>
    </div>
  );
}

function Empty({ title, text }: { title: string; text: string }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      <p className="muted">{text}</p>
    </div>
  );
}

function Skeleton() {
  return (
    <div role="status">
      <span className="hidden">Loading your tasks…</span>
      <div className="tasks" aria-hidden="true">
        <div className="task skeleton" />
        <div className="task skeleton" />
        <div className="task skeleton" />
      </div>
    </div>
  );
}

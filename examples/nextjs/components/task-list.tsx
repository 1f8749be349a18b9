import { type Ref, useEffect, useRef, useState } from "react";
import { handOnFocus, mayMoveFocus } from "@/lib/focus";
import { messageOf, tasksOf, useAddTask, useNextPage, useTasks } from "@/lib/tasks";
import { Notice, type NoticeContent } from "./notice";
import { SignInLink } from "./sign-in-link";
import { TaskForm, type TaskValues, valuesOf } from "./task-form";
import { type Notify, TaskItem } from "./task-item";
import { Toolbar, useFilter } from "./toolbar";

const EMPTY = {
  all: { title: "Nothing to do yet", text: "Add your first task above." },
  pending: { title: "All done", text: "There is no pending task." },
  completed: { title: "Nothing completed yet", text: "What you tick off is shown here." },
};

export function TaskList() {
  const [filter, setFilter] = useFilter();
  const [notice, setNotice] = useState<NoticeContent>({ done: "", failed: "" });
  const list = useRef<HTMLUListElement>(null);
  const more = useRef<HTMLButtonElement>(null);
  const failure = useRef<HTMLDivElement>(null);
  const firstNew = useRef<number>(null);
  const query = useTasks(filter);
  const nextPage = useNextPage(query, filter);
  const add = useAddTask();
  // `isPending` comes a render too late for the second click of a double click.
  const isAdding = useRef(false);
  const tasks = query.data && tasksOf(query.data.pages);
  const isEmpty = tasks?.length === 0;
  const notify: Notify = (text, kind = "done") => setNotice((notice) => ({ ...notice, [kind]: text }));

  async function addTask(values: TaskValues, form: HTMLFormElement) {
    if (isAdding.current) return;
    isAdding.current = true;
    try {
      await add.mutateAsync(values);
    } catch {
      return; // The form says what is wrong.
    } finally {
      isAdding.current = false;
    }
    notify(`Added “${values.title.trim()}”.`);
    // Unless the next task is being typed already.
    if (JSON.stringify(valuesOf(form)) !== JSON.stringify(values)) return;
    form.reset();
    if (mayMoveFocus(form)) form.querySelector("input")?.focus();
  }

  function loadMore() {
    firstNew.current = tasks?.length ?? 0;
    nextPage.load();
  }

  // The button may be gone by now, and reading goes on here anyway.
  useEffect(() => {
    const item = firstNew.current === null ? undefined : list.current?.children[firstNew.current];
    if (!item) return;
    firstNew.current = null;
    if (mayMoveFocus(more.current)) item.querySelector("input")?.focus();
  }, [tasks?.length]);
  useEffect(() => {
    if (query.isFetchNextPageError && mayMoveFocus(more.current)) failure.current?.querySelector("button")?.focus();
  }, [query.isFetchNextPageError]);

  return (
    <>
      <section className="card" aria-label="New task">
        <TaskForm label="Add a task" isCompact error={add.error} onSubmit={addTask}>
          <button className="primary" aria-disabled={add.isPending}>
            {add.isPending ? "Adding…" : "Add task"}
          </button>
        </TaskForm>
      </section>

      <section aria-labelledby="tasks" aria-busy={query.isFetching}>
        <h1 id="tasks" tabIndex={-1}>
          Your tasks
        </h1>
        <Toolbar filter={filter} onChange={setFilter} />
        {query.error && !query.isFetchNextPageError && <LoadError ref={handOnFocus} error={query.error} onRetry={() => query.refetch()} />}
        {(query.isPending || (isEmpty && query.isPlaceholderData)) && <Skeleton />}
        {isEmpty && !query.isPlaceholderData && <Empty {...EMPTY[filter.status]} />}
        {tasks && tasks.length > 0 && (
          <ul ref={list} className={query.isPlaceholderData ? "tasks outdated" : "tasks"}>
            {tasks.map((task) => (
              <TaskItem key={task.id} task={task} notify={notify} />
            ))}
          </ul>
        )}
        {query.isFetchNextPageError && <LoadError ref={failure} error={query.error} onRetry={nextPage.retry} />}
        {query.hasNextPage && !query.isFetchNextPageError && (
          <button ref={more} type="button" className="more" onClick={loadMore} aria-disabled={nextPage.isLoading}>
            {nextPage.isLoading ? "Loading…" : "Load more"}
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

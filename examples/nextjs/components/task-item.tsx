import { useRef, useState } from "react";
import { createPortal, flushSync } from "react-dom";
import { ApiError, type Task } from "@/lib/api";
import { handOnFocus } from "@/lib/focus";
import { messageOf, useDeleteTask, useUpdateTask } from "@/lib/tasks";
import { DeleteDialog } from "./delete-dialog";
import { DueDate } from "./due-date";
import type { NoticeContent } from "./notice";
import { TaskForm, type TaskValues } from "./task-form";

export type Notify = (text: string, kind?: keyof NoticeContent) => void;

const changesOf = (before: Partial<TaskValues> = {}, after: TaskValues): Partial<TaskValues> =>
  Object.fromEntries(Object.entries(after).filter(([name, value]) => value !== before[name as keyof TaskValues]));

export function TaskItem({ task, notify }: { task: Task; notify: Notify }) {
  // What the form was opened with; none while it is closed.
  const [opened, setOpened] = useState<TaskValues>();
  const editButton = useRef<HTMLButtonElement>(null);
  const dialog = useRef<HTMLDialogElement>(null);
  const toggle = useUpdateTask(task.id);
  const edit = useUpdateTask(task.id);
  const remove = useDeleteTask(task.id);

  if (remove.isPending || remove.isSuccess) return null;
  const shown = { ...task, ...(edit.isPending && edit.variables), ...(toggle.isPending && toggle.variables) };

  function closeForm() {
    flushSync(() => setOpened(undefined));
    editButton.current?.focus();
  }

  function cancel() {
    // What is still being saved may be refused, and then opens the form again.
    if (!edit.isPending) edit.reset();
    closeForm();
  }

  // Promises and not callbacks of `mutate`: those are dropped when the task has left the list by then.
  async function save(values: TaskValues) {
    // Only what was changed here: another tab may have changed the rest. All of it while an earlier save may still fail.
    const changes = edit.isPending ? values : changesOf(opened, values);
    if (Object.keys(changes).length === 0) return cancel();
    closeForm();
    try {
      await edit.mutateAsync(changes);
      notify(`Saved “${values.title.trim()}”.`);
    } catch (error) {
      const isGone = error instanceof ApiError && error.status === 404;
      if (isGone) notify(`“${task.title}” was not saved. ${error.message}`, "failed");
      // The form says what is wrong, and still has what was typed.
      else setOpened(opened);
    }
  }

  const setCompleted = (completed: boolean) =>
    toggle.mutateAsync({ completed }).then(
      () => notify(`“${task.title}” is ${completed ? "completed" : "pending"}.`),
      (error) => notify(`“${task.title}” was not changed. ${messageOf(error)}`, "failed"),
    );

  const deleteTask = () =>
    remove.mutateAsync().then(
      () => notify(`Deleted “${task.title}”.`),
      (error) => notify(`“${task.title}” was not deleted. ${messageOf(error)}`, "failed"),
    );

  if (opened) {
    return (
      <li ref={handOnFocus} className="task editing">
        <TaskForm
          label={`Edit ${task.title}`}
          initial={edit.isError ? { ...opened, ...edit.variables } : opened}
          error={edit.error}
          isFocused
          onSubmit={save}
          onCancel={cancel}
        >
          <button className="primary">Save</button>
          <button type="button" onClick={cancel}>
            Cancel
          </button>
        </TaskForm>
      </li>
    );
  }
  return (
    <li ref={handOnFocus} className={shown.completed ? "task completed" : "task"}>
      <label className="check">
        <input type="checkbox" checked={shown.completed} onChange={(event) => setCompleted(event.target.checked)} />
        <span>{shown.title}</span>
      </label>
      {shown.description && <p className="description">{shown.description}</p>}
      {shown.due_date && <DueDate date={shown.due_date} isDone={shown.completed} />}
      <div className="actions">
        <button ref={editButton} type="button" aria-label={`Edit ${shown.title}`} onClick={() => setOpened(shown)}>
          Edit
        </button>
        <button type="button" aria-label={`Delete ${shown.title}`} onClick={() => dialog.current?.showModal()}>
          Delete
        </button>
      </div>
      {/* Not in the list: an element that is moved there, when the order changes, is modal no more. */}
      {createPortal(<DeleteDialog ref={dialog} title={shown.title} onDelete={deleteTask} />, document.body)}
    </li>
  );
}

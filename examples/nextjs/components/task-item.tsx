import { useRef, useState } from "react";
import { createPortal, flushSync } from "react-dom";
import { newChange, type ShownTask } from "@/lib/changes";
import { handOnFocus } from "@/lib/focus";
import { messageOf, useChange } from "@/lib/tasks";
import { ConfirmDialog } from "./confirm-dialog";
import { DueDate } from "./due-date";
import type { NoticeContent } from "./notice";
import { TaskForm, type TaskValues } from "./task-form";

export type Notify = (text: string, kind?: keyof NoticeContent) => void;

const changesOf = (before: ShownTask, after: TaskValues): Partial<TaskValues> =>
  Object.fromEntries(Object.entries(after).filter(([name, value]) => value !== before[name as keyof TaskValues]));

/** `task` is as it will be when all that waits is sent. */
export function TaskItem({ task, notify }: { task: ShownTask; notify: Notify }) {
  // The task as the form was opened with it; none while it is closed.
  const [opened, setOpened] = useState<ShownTask>();
  const [refused, setRefused] = useState<{ values: TaskValues; error: Error }>();
  const editButton = useRef<HTMLButtonElement>(null);
  const dialog = useRef<HTMLDialogElement>(null);
  const change = useChange();

  function open() {
    setRefused(undefined);
    setOpened(task);
  }

  function closeForm() {
    flushSync(() => setOpened(undefined));
    editButton.current?.focus();
  }

  async function save(seen: ShownTask, values: TaskValues) {
    // Only what was changed here: another device may have changed the rest.
    const changes = changesOf(seen, values);
    closeForm();
    if (Object.keys(changes).length === 0) return;
    try {
      if (await change(newChange({ kind: "update", seen, values: changes }))) notify(`Saved “${values.title.trim()}”.`);
    } catch (error) {
      // The form says what is wrong, and still has what was typed.
      setRefused({ values, error: error as Error });
      setOpened(seen);
    }
  }

  async function setCompleted(completed: boolean) {
    try {
      // Not PATCH …/complete without a body: that flips whatever another tab has left, and this says what is meant.
      const isMade = await change(newChange({ kind: "update", seen: task, values: { completed } }));
      if (isMade) notify(`“${task.title}” is ${completed ? "completed" : "pending"}.`);
    } catch (error) {
      notify(`“${task.title}” was not changed. ${messageOf(error as Error)}`, "failed");
    }
  }

  async function deleteTask() {
    try {
      if (await change(newChange({ kind: "delete", seen: task }))) notify(`Deleted “${task.title}”.`);
    } catch (error) {
      notify(`“${task.title}” was not deleted. ${messageOf(error as Error)}`, "failed");
    }
  }

  if (opened) {
    return (
      <li ref={handOnFocus} className="task editing">
        <TaskForm
          label={`Edit ${task.title}`}
          initial={refused?.values ?? opened}
          error={refused?.error ?? null}
          isFocused
          onSubmit={(values) => save(opened, values)}
          onCancel={closeForm}
        >
          <button className="primary">Save</button>
          <button type="button" onClick={closeForm}>
            Cancel
          </button>
        </TaskForm>
      </li>
    );
  }
  return (
    <li ref={handOnFocus} className={["task", task.completed && "completed", task.isWaiting && "waiting"].filter(Boolean).join(" ")}>
      <label className="check">
        <input type="checkbox" checked={task.completed} onChange={(event) => setCompleted(event.target.checked)} />
        <span>{task.title}</span>
      </label>
      {task.description && <p className="description">{task.description}</p>}
      {task.due_date && <DueDate date={task.due_date} isDone={task.completed} />}
      <div className="actions">
        <button ref={editButton} type="button" aria-label={`Edit ${task.title}`} onClick={open}>
          Edit
        </button>
        <button type="button" aria-label={`Delete ${task.title}`} onClick={() => dialog.current?.showModal()}>
          Delete
        </button>
      </div>
      {/* Not in the list: an element that is moved there, when the order changes, is modal no more. */}
      {createPortal(
        <ConfirmDialog
          ref={dialog}
          question={`Delete “${task.title}”?`}
          text="This cannot be undone."
          no="Keep it"
          yes="Delete"
          onYes={deleteTask}
        />,
        document.body,
      )}
    </li>
  );
}

import { type FormEvent, type ReactNode, useEffect, useRef } from "react";
import { ApiError, type Task } from "@/lib/api";
import { mayMoveFocus } from "@/lib/focus";
import { messageOf } from "@/lib/tasks";
import { Field } from "./field";
import { SignInLink } from "./sign-in-link";

export type TaskValues = Pick<Task, "title" | "description" | "due_date">;

type Props = {
  label: string;
  initial?: TaskValues;
  error: Error | null;
  isCompact?: boolean;
  isFocused?: boolean;
  onSubmit: (values: TaskValues, form: HTMLFormElement) => void;
  onCancel?: () => void;
  children: ReactNode;
};

export function valuesOf(form: HTMLFormElement): TaskValues {
  const data = new FormData(form);
  const value = (name: string) => String(data.get(name) ?? "");
  return {
    title: value("title"),
    description: value("description") || null,
    due_date: value("due_date") || null,
  };
}

/** Title, description and due date, for a new task and for an old one. `children` are the buttons. */
export function TaskForm({ label, initial, error, isCompact, isFocused, onSubmit, onCancel, children }: Props) {
  const form = useRef<HTMLFormElement>(null);
  const fields = error instanceof ApiError ? error.fields : {};
  const isElsewhere = error && !["title", "description", "due_date"].some((name) => name in fields);

  useEffect(() => {
    if (isFocused && mayMoveFocus(form.current)) form.current?.querySelector("input")?.focus();
  }, [isFocused]);
  useEffect(() => {
    if (error && mayMoveFocus(form.current)) form.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus();
  }, [error]);

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    onSubmit(valuesOf(event.currentTarget), event.currentTarget);
  }

  const details = (
    <>
      <Field
        label="Description"
        hint="optional"
        name="description"
        rows={2}
        defaultValue={initial?.description ?? ""}
        error={fields.description}
      />
      <Field
        label="Due date"
        hint="optional"
        name="due_date"
        type="date"
        max="9999-12-31"
        defaultValue={initial?.due_date ?? ""}
        error={fields.due_date}
      />
    </>
  );

  return (
    <form
      ref={form}
      className="task-form"
      aria-label={label}
      onSubmit={submit}
      // While text is composed, Escape belongs to the input method.
      onKeyDown={(event) => event.key === "Escape" && !event.nativeEvent.isComposing && onCancel?.()}
    >
      <Field label="Title" name="title" defaultValue={initial?.title} error={fields.title} autoComplete="off" required />
      {isCompact ? (
        <details open={"description" in fields || "due_date" in fields || undefined}>
          <summary>Description and due date</summary>
          <div className="details">{details}</div>
        </details>
      ) : (
        <div className="details">{details}</div>
      )}
      <p role="alert" className="alert" hidden={!isElsewhere}>
        {isElsewhere && messageOf(error)} <SignInLink error={error} />
      </p>
      <div className="buttons">{children}</div>
    </form>
  );
}

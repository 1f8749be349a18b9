import { type MouseEvent, useRef } from "react";
import { insist, type Question, resultOf, type ShownTask } from "@/lib/changes";
import { handOnFocus } from "@/lib/focus";
import { useQuestions } from "@/lib/tasks";
import { DueDate } from "./due-date";

const DOUBLE_CLICK_MS = 500;

/** Changes that were not made: what another device did meanwhile, or why the API refused, and what is to be done. */
export function Questions() {
  const { questions, keepMine, drop } = useQuestions();
  const answeredAt = useRef(-Infinity);

  /** The next question moves up under the pointer, and a click that comes too soon was not meant for it. */
  function answer({ timeStamp }: MouseEvent, give: () => void) {
    if (timeStamp - answeredAt.current < DOUBLE_CLICK_MS) return;
    answeredAt.current = timeStamp;
    give();
  }

  return questions.map((question) => {
    const sentence = `question-${question.change.key}`;
    return (
      <section key={sentence} ref={handOnFocus} className="card question" aria-labelledby={sentence}>
        <p id={sentence} role="alert">
          {sentenceOf(question)}
        </p>
        <div className="versions">
          <Version name="Yours" task={question.change.kind === "delete" ? null : resultOf(insist(question))} />
          {question.theirs !== undefined && <Version name="Theirs" task={question.theirs} />}
        </div>
        <div className="buttons">
          <button
            type="button"
            className="primary"
            aria-describedby={sentence}
            onClick={(event) => answer(event, () => keepMine(question))}
          >
            {question.theirs === undefined ? "Try again" : "Keep mine"}
          </button>
          <button type="button" aria-describedby={sentence} onClick={(event) => answer(event, () => drop(question))}>
            {question.theirs === undefined ? "Drop it" : "Take theirs"}
          </button>
        </div>
      </section>
    );
  });
}

function sentenceOf({ change, theirs, message }: Question) {
  const { title } = change.kind === "add" ? change.values : change.seen;
  if (theirs === null) return `“${title}” was deleted on another device, and your change of it was not made.`;
  if (theirs) return `“${title}” was changed on another device as well. Which one is to stay?`;
  return `Your change of “${title}” was refused. ${message}`;
}

function Version({ name, task }: { name: string; task: Omit<ShownTask, "id"> | null }) {
  return (
    <div className="version">
      <h2>{name}</h2>
      {!task && <p className="muted">Deleted</p>}
      {task && (
        <>
          <p>{task.title}</p>
          {task.description && <p className="muted">{task.description}</p>}
          {task.due_date && <DueDate date={task.due_date} isDone={task.completed} />}
          <p className="muted">{task.completed ? "Completed" : "Pending"}</p>
        </>
      )}
    </div>
  );
}

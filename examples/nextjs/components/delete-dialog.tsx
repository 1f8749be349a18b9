import { type Ref, useId } from "react";

type Props = { ref: Ref<HTMLDialogElement>; title: string; onDelete: () => void };

/** The browser's own modal: it keeps the focus inside, closes on Escape and gives the focus back. */
export function DeleteDialog({ ref, title, onDelete }: Props) {
  const id = useId();
  return (
    <dialog
      ref={ref}
      aria-labelledby={id}
      onClose={({ currentTarget }) => {
        if (currentTarget.returnValue === "delete") onDelete();
        currentTarget.returnValue = "";
      }}
    >
      <form method="dialog">
        <h2 id={id}>Delete “{title}”?</h2>
        <p className="muted">This cannot be undone.</p>
        <div className="buttons">
          <button value="">Keep it</button>
          <button value="delete" className="danger">
            Delete
          </button>
        </div>
      </form>
    </dialog>
  );
}

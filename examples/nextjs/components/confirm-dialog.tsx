import { type Ref, useId } from "react";

type Props = { ref: Ref<HTMLDialogElement>; question: string; text: string; no: string; yes: string; onYes: () => void };

/** The browser's own modal: it keeps the focus inside, closes on Escape and gives the focus back. */
export function ConfirmDialog({ ref, question, text, no, yes, onYes }: Props) {
  const id = useId();
  return (
    <dialog
      ref={ref}
      aria-labelledby={id}
      onClose={({ currentTarget }) => {
        if (currentTarget.returnValue === "yes") onYes();
        currentTarget.returnValue = "";
      }}
    >
      <form method="dialog">
        <h2 id={id}>{question}</h2>
        <p className="muted">{text}</p>
        <div className="buttons">
          <button value="">{no}</button>
          <button value="yes" className="danger">
            {yes}
          </button>
        </div>
      </form>
    </dialog>
  );
}

import { handOnFocus } from "@/lib/focus";

export type NoticeContent = { done: string; failed: string };

/** Success is seen in the list and so only spoken; a failure is shown as well, until it is dismissed. */
export function Notice({ done, failed, onDismiss }: NoticeContent & { onDismiss: () => void }) {
  return (
    <>
      <p role="status" className="hidden">
        {done}
      </p>
      <div role="alert" className={failed ? "notice" : "hidden"}>
        {failed && (
          <>
            <p>{failed}</p>
            <button ref={handOnFocus} type="button" onClick={onDismiss}>
              Dismiss
            </button>
          </>
        )}
      </div>
    </>
  );
}

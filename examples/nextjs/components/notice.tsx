export type NoticeContent = { text: string; kind: "done" | "failed" };

/** Success is seen in the list and so only spoken; a failure is shown as well, until it is dismissed. */
export function Notice({ text, kind, onDismiss }: NoticeContent & { onDismiss: () => void }) {
  const hasFailed = kind === "failed" && text !== "";
  return (
    <>
      <p role="status" className="hidden">
        {!hasFailed && text}
      </p>
      <div role="alert" className={hasFailed ? "notice" : "hidden"}>
        {hasFailed && (
          <>
            <p>{text}</p>
            <button type="button" onClick={onDismiss}>
              Dismiss
            </button>
          </>
        )}
      </div>
    </>
  );
}
